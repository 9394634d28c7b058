// Finding: the search field as a combobox, its keys, and results while typing. Every search works
// as a plain form without this file. Words come from the page, never from here.

const PAUSE = 180; // milliseconds after the last key: fast typists ask once
const FEWEST_LETTERS = 2;
const REMEMBERED = 30; // answers kept for going back letter by letter

const token = () => JSON.parse(document.body.getAttribute("hx-headers") ?? "{}")["X-CSRFToken"];
const post = (url, values) => fetch(url, { method: "POST", body: new URLSearchParams(values), headers: { "X-CSRFToken": token() }, keepalive: true });

// --- The field -----------------------------------------------------------------------------------

class Suggestions {
  constructor(form) {
    this.form = form;
    this.input = form.querySelector("input[type=search]");
    this.list = form.querySelector("[role=listbox]");
    this.status = form.querySelector("[role=status]");
    this.answers = new Map();
    this.active = -1;
    const attributes = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(attributes)) this.input.setAttribute(name, value);
    this.input.addEventListener("input", () => this.later());
    this.input.addEventListener("focus", () => this.ask());
    this.input.addEventListener("click", () => { if (this.list.hidden) this.ask(); });
    this.input.addEventListener("keydown", (event) => this.key(event));
    form.addEventListener("focusout", (event) => { if (!form.contains(event.relatedTarget)) this.close(); });
    form.addEventListener("submit", () => this.remember(this.input.value));
    // The focus stays in the field, so that typing goes on after a slip of the mouse.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.follow(event));
    if (document.activeElement === this.input) this.ask();
  }

  get text() {
    return this.input.value.trim().replace(/\s+/g, " ");
  }

  get options() {
    return [...this.list.querySelectorAll("[role=option]")];
  }

  later() {
    clearTimeout(this.timer);
    this.request?.abort();
    if (this.answers.has(this.text)) this.ask();
    else if (!this.text || this.text.length >= FEWEST_LETTERS) this.timer = setTimeout(() => this.ask(), PAUSE);
    else this.close();
  }

  async ask() {
    const { text } = this;
    if (text && text.length < FEWEST_LETTERS) return;
    this.request?.abort();
    this.request = new AbortController();
    try {
      if (!this.answers.has(text)) {
        const url = text ? `${this.form.dataset.suggest}?${new URLSearchParams({ q: text })}` : this.form.dataset.recent;
        const answer = await fetch(url, { signal: this.request.signal, headers: { "HX-Request": "true" } });
        if (!answer.ok || answer.redirected) return;
        this.answers.set(text, await answer.text());
        if (this.answers.size > REMEMBERED) this.answers.delete(this.answers.keys().next().value);
      }
    } catch {
      return; // overtaken by the next letter, or no connection: the form still works
    }
    if (text === this.text && document.activeElement === this.input) this.show(this.answers.get(text));
  }

  show(html) {
    this.list.innerHTML = html;
    this.options.forEach((option, number) => { option.id = `${this.list.id}-${number}`; });
    this.choose(-1);
    const isEmpty = this.options.length === 0;
    this.list.hidden = isEmpty;
    this.input.setAttribute("aria-expanded", String(!isEmpty));
    this.status.textContent = this.list.firstElementChild?.dataset.said ?? "";
  }

  close() {
    clearTimeout(this.timer);
    this.request?.abort();
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.status.textContent = "";
    this.choose(-1);
  }

  choose(number) {
    const { options } = this;
    options[this.active]?.setAttribute("aria-selected", "false");
    this.active = number;
    const option = options[number];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = this.options.length - 1;
    const isOpen = !this.list.hidden;
    const moves = {
      ArrowDown: this.active === last ? -1 : this.active + 1,
      ArrowUp: this.active < 0 ? last : this.active - 1,
      ...(this.active >= 0 && { Home: 0, End: last }),
    };
    if (isOpen && event.key in moves) {
      event.preventDefault();
      this.choose(moves[event.key]);
    } else if (event.key === "ArrowDown" && !isOpen) {
      event.preventDefault();
      this.ask();
    } else if (event.key === "Enter" && isOpen && this.active >= 0) {
      event.preventDefault();
      this.options[this.active].click();
    } else if (event.key === "Escape") {
      event.preventDefault(); // else browsers empty the field
      this.close();
    }
  }

  async follow(event) {
    const option = event.target.closest("[role=option]");
    if (!option) return;
    if ("forget" in option.dataset) {
      event.preventDefault();
      await post(this.form.dataset.recent, { forget: "1" });
      this.answers.clear();
      this.close();
    } else this.remember(option.dataset.words ?? "");
  }

  remember(words) {
    if (words.trim().length >= FEWEST_LETTERS) post(this.form.dataset.recent, { q: words });
  }
}

for (const form of document.querySelectorAll("form[data-suggest]")) new Suggestions(form);

// --- Keys that lead to the field and back --------------------------------------------------------

let before = null;
document.addEventListener("keydown", (event) => {
  const search = document.querySelector('[data-shortcut="/"]');
  if (!search) return;
  const field = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && field === search && before) {
    if (before === document.body) search.blur();
    else before.focus();
    before = null;
    return;
  }
  const isPalette = event.key === "k" && (event.ctrlKey || event.metaKey);
  const isSlash = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (isPalette || (isSlash && !field && !("noShortcuts" in document.body.dataset))) {
    event.preventDefault();
    if (document.activeElement !== search) before = document.activeElement;
    search.focus();
    search.select();
  }
});

// --- Results while typing ------------------------------------------------------------------------

const live = document.querySelector("form[data-live]");
const links = () => [...document.querySelectorAll("[data-results] .result__title a")];
const places = () => [...document.querySelectorAll("#facets, #facets-fold, #facets details")];

// One letter finds everything and nothing.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  const isTyping = elt === live && requestConfig.triggeringEvent?.type === "input";
  if (isTyping && live.elements.q.value.trim().length === 1) event.preventDefault();
  else if (event.detail.target.id === "results") event.detail.target.setAttribute("aria-busy", "true");
});

// What was unfolded and scrolled beside the results stays so.
let kept = [];
let focused = "";
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "results") return;
  kept = places().map((place) => [place.id, place.open, place.scrollTop]);
  focused = event.detail.target.contains(document.activeElement) ? document.activeElement.id : "";
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "results") return;
  for (const [id, isOpen, scroll] of kept) {
    const place = document.getElementById(id);
    if (!place) continue;
    if (isOpen !== undefined) place.open = isOpen || place.querySelector(":scope > ul [aria-current]") !== null;
    place.scrollTop = scroll;
  }
  // What stood in a fold could not be focused before the fold was open again.
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  const status = document.getElementById("finding-status");
  clearTimeout(status.waiting);
  // After the last of several answers, so that nobody hears the ones in between.
  status.waiting = setTimeout(() => { status.textContent = document.getElementById("results").dataset.said; }, 600);
});

// Arrows lead from the field through the titles and back.
document.addEventListener("keydown", (event) => {
  if (!live || !["ArrowDown", "ArrowUp", "Escape"].includes(event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
  const field = live.elements.q;
  const titles = links();
  const place = titles.indexOf(document.activeElement);
  if (event.target !== field && place < 0) return;
  if (event.key === "Escape" && place >= 0) field.focus();
  else if (event.key === "ArrowDown" && titles[place + 1]) titles[place + 1].focus();
  else if (event.key === "ArrowUp" && place >= 0) (titles[place - 1] ?? field).focus();
  else return;
  event.preventDefault();
});

// Whoever opens a result has found what the words were for.
document.addEventListener("click", (event) => {
  const words = live?.elements.q.value.trim();
  if (words && event.target.closest?.("[data-results] a")) post(live.dataset.recent, { q: words });
});
