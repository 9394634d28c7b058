// Progressive enhancement: every page works without this file. Words come from the page, never from here.

const say = (text) => {
  const place = document.getElementById("toasts");
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.textContent = text;
  place.replaceChildren(toast);
  setTimeout(() => toast.remove(), 4000);
};

// <prompt-filler>: variables in a form, their values in the text, the whole to be copied.
class PromptFiller extends HTMLElement {
  connectedCallback() {
    this.addEventListener("input", (event) => this.update(event.target));
    this.addEventListener("change", (event) => this.update(event.target));
    this.querySelectorAll("[data-variable-input]").forEach((field) => this.update(field));
    this.addEventListener("click", (event) => {
      const button = event.target.closest("[data-copy]");
      if (button) this.copy(button);
      if (event.target.closest("[data-open-url]")) this.point(event.target.closest("[data-open-url]"));
    });
    this.querySelectorAll("[data-needs-script]").forEach((part) => { part.hidden = false; });
    this.querySelectorAll("[data-without-script]").forEach((part) => { part.hidden = true; });
  }

  update(field) {
    const name = field.dataset.variableInput;
    if (!name) return;
    for (const hole of this.querySelectorAll("[data-hole]")) {
      if (hole.dataset.hole !== name) continue;
      const value = field.value || hole.dataset.default;
      hole.textContent = value || hole.dataset.label;
      hole.classList.toggle("hole--filled", Boolean(value));
      hole.dataset.filled = value ? "1" : "";
    }
    this.count();
  }

  count() {
    const empty = new Set([...this.querySelectorAll("[data-hole]")].filter((h) => !h.dataset.filled && h.dataset.required).map((h) => h.dataset.hole));
    const note = this.querySelector("[data-unfilled]");
    if (!note) return;
    note.hidden = empty.size === 0;
    note.textContent = (empty.size === 1 ? note.dataset.one : note.dataset.many).replace("%n", empty.size);
  }

  text(name = "text") {
    const place = this.querySelector(`[data-part="${name}"]`);
    return [...place.childNodes].map((node) => (node.dataset?.hole !== undefined && !node.dataset.filled ? node.dataset.raw : node.textContent)).join("");
  }

  async copy(button) {
    const text = this.text(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement("textarea");
      field.value = text;
      field.className = "visually-hidden";
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      button.focus();
    }
    say(button.dataset.copied);
    document.dispatchEvent(new CustomEvent("retex:copied"));
  }

  point(link) {
    const address = link.dataset.openUrl.replace("{prompt}", encodeURIComponent(this.text()));
    if (address.length <= Number(link.dataset.longest)) link.href = address;
    else {
      navigator.clipboard?.writeText(this.text());
      link.href = link.dataset.openUrl.split("?")[0];
      say(link.dataset.tooLong);
    }
  }
}
customElements.define("prompt-filler", PromptFiller);

// Copying of anything that is not a prompt: tokens, answers, links.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-from]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copyFrom);
  await navigator.clipboard.writeText(source.value ?? source.textContent);
  say(button.dataset.copied);
});

// Menus close when one leaves them.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.activeElement?.closest("details[data-menu][open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// Colours change at once; the cookie keeps the choice for the next page.
document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-theme-switch]");
  if (!form) return;
  event.preventDefault();
  const theme = event.submitter.value;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === event.submitter));
  const body = new FormData(form);
  body.set("theme", theme);
  fetch(form.action, { method: "POST", body, headers: { "X-Requested-With": "fetch" } });
});

// A form is sent once.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post" || event.target.hasAttribute("hx-post")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "1";
});
window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));

// Facets apply on choice; the button is for pages without scripts.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto-submit]");
  if (form) form.requestSubmit();
});

// Counters of what still fits.
const countdown = (field) => {
  const place = document.getElementById(`${field.id}_left`);
  if (place) place.textContent = String(field.maxLength - field.value.length);
};
document.addEventListener("input", (event) => event.target.maxLength > 0 && countdown(event.target));

// Filters stand open where there is room beside the list.
const unfold = () => {
  for (const fold of document.querySelectorAll("[data-open-wide]")) fold.open ||= matchMedia("(min-width: 62rem)").matches;
};
unfold();
document.addEventListener("htmx:afterSettle", unfold);

const wake = (root) => {
  root.querySelector?.("[data-autofocus]")?.focus();
  root.querySelectorAll?.("[data-needs-script]").forEach((part) => { part.hidden = false; });
};
wake(document);
document.addEventListener("htmx:afterSettle", (event) => wake(event.detail.elt));

// A control that goes away with its swap leaves the focus there, not at the top of the page.
// Kept by request: others may come back between the swap and its end.
const landings = new WeakMap();
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.contains(document.activeElement)) landings.set(detail.xhr, detail.target.id);
});
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  const place = document.activeElement === document.body && document.getElementById(landings.get(detail.xhr));
  if (!place) return;
  place.tabIndex = -1;
  place.focus({ preventScroll: true });
});
document.addEventListener("htmx:responseError", () => say(document.body.dataset.failed));
document.addEventListener("htmx:sendError", () => say(document.body.dataset.offline));
