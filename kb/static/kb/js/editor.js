// The editor works without this file. It keeps what is typed on the device, keeps rows from being
// overwritten while somebody types in them, and undoes a conversion. Words come from the page.

const OLDEST = 7 * 24 * 3600 * 1000; // a forgotten copy is no use after a week
const form = document.getElementById("editor");
const texts = () => ["id_text", "id_system"].map((id) => document.getElementById(id));

for (const part of form.querySelectorAll("[data-without-script]")) part.hidden = true;
document.addEventListener("htmx:afterSettle", () => {
  for (const part of form.querySelectorAll("[data-without-script]")) part.hidden = true;
});

// Enter in a line of a long form is a slip more often than a wish to be done.
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches('input:not([type="checkbox"], [type="radio"], [type="submit"])')) event.preventDefault();
});

// --- Rows and conversions ----------------------------------------------------------------------

const typed = (isIn) => JSON.stringify([...new FormData(form)].filter(([name]) => isIn(name)));
const rows = () => typed((name) => name.startsWith("variable-") || name === "accept");
const holdsTexts = (name) => name === "text" || name === "system";
const asked = new WeakMap();
let before = null;

document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (detail.target.id !== "holes") return;
  const isConversion = detail.elt.id === "convert";
  asked.set(detail.xhr, { rows: rows(), texts: isConversion ? typed(holdsTexts) : null });
  if (isConversion) before = texts().map((field) => field.value);
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const sent = asked.get(detail.xhr);
  if (!sent || !detail.shouldSwap) return;
  if (sent.rows === rows() && (sent.texts === null || sent.texts === typed(holdsTexts))) return;
  detail.shouldSwap = false; // typed meanwhile: ask again instead of overwriting it
  htmx.trigger("#text-fields", "look-again");
});
form.addEventListener("click", (event) => {
  if (!event.target.closest("[data-undo-conversion]") || !before) return;
  texts().forEach((field, number) => { field.value = before[number]; });
  before = null;
  texts()[0].dispatchEvent(new Event("input", { bubbles: true }));
  texts()[0].focus();
});

// --- A copy on this device ---------------------------------------------------------------------

const PREFIX = "retex:editor:";
const place = `${PREFIX}${form.dataset.copyKey}:`;
const own = place + form.elements.copy.value;
const note = document.getElementById("kept-note");
const page = document.documentElement.lang;
const language = navigator.languages.find((one) => one.startsWith(page)) ?? page;
const NOT_TYPED = new Set(["csrfmiddlewaretoken", "copy", "edition", "holes", "offered", "accept", "merging"]);

const entries = () => [...new FormData(form)].filter(([name]) => name !== "csrfmiddlewaretoken");
const essence = (pairs) => JSON.stringify(pairs.filter(([name, value]) => !NOT_TYPED.has(name) && value !== "").map(([name, value]) => [name, value.replaceAll("\r\n", "\n")]));
const untouched = essence(entries());

const stored = (key) => {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
};
const copies = (start) => Object.keys(localStorage).filter((key) => key.startsWith(start));

const saved = document.cookie.match(/(?:^|; )retex_saved=([\w-]+)/);
if (saved) {
  for (const key of copies(PREFIX)) if (key.endsWith(`:${saved[1]}`)) localStorage.removeItem(key);
  document.cookie = "retex_saved=; Max-Age=0; Path=/; SameSite=Lax";
}
for (const key of copies(PREFIX)) if (!(stored(key)?.at > Date.now() - OLDEST)) localStorage.removeItem(key);

const keep = () => {
  const now = Date.now();
  try {
    if (essence(entries()) === untouched && !("typed" in form.dataset)) localStorage.removeItem(own);
    else localStorage.setItem(own, JSON.stringify({ at: now, entries: entries() }));
    const time = new Date(now).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
    note.textContent = form.dataset.kept.replace("{time}", time);
  } catch {
    note.textContent = form.dataset.notKept;
  }
};
let waiting = 0;
form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(keep, 700);
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden" && waiting) keep();
});

const offer = document.getElementById("kept-copy");
const found = "typed" in form.dataset ? undefined : copies(place).filter((key) => key !== own).map((key) => [key, stored(key)])
  .filter(([, copy]) => copy && essence(copy.entries) !== untouched).sort((a, b) => b[1].at - a[1].at)[0];
if (found) {
  const [key, copy] = found;
  const time = new Date(copy.at).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  offer.querySelector("p").textContent = offer.dataset.text.replace("{time}", time);
  offer.hidden = false;
  offer.querySelector("[data-discard]").addEventListener("click", () => {
    localStorage.removeItem(key);
    offer.hidden = true;
    document.getElementById("id_title").focus();
  });
  offer.querySelector("[data-bring-back]").addEventListener("click", () => {
    const sender = document.createElement("form");
    sender.method = "post";
    sender.action = form.getAttribute("action");
    sender.enctype = form.enctype;
    sender.hidden = true;
    const token = ["csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value];
    for (const [name, value] of [...copy.entries, token, ["do", "bring-back"]]) {
      const field = document.createElement("textarea");
      field.name = name;
      field.value = value;
      sender.append(field);
    }
    document.body.append(sender);
    sender.submit();
  });
}

// --- Without a connection ----------------------------------------------------------------------

form.addEventListener("submit", (event) => {
  if (navigator.onLine) return;
  event.preventDefault();
  keep();
  note.textContent = form.dataset.offline;
  window.addEventListener("online", () => form.requestSubmit(event.submitter), { once: true });
});
