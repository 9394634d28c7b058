// Retrospectives: nothing typed is lost, and the keyboard is enough. Words come from the page.

const STORE = "retex:report:";
const KEPT_DAYS = 7;
const PAUSE = 400; // milliseconds after the last key

const form = document.getElementById("report-form");

const fieldsOf = () => [...form.elements].filter((field) => field.name && !["csrfmiddlewaretoken", "find", "look", "seen"].includes(field.name));

const typed = () => {
  const values = {};
  for (const field of fieldsOf()) {
    if (["radio", "checkbox"].includes(field.type)) {
      if (field.checked) (values[field.name] ??= []).push(field.value);
    } else values[field.name] = [field.value];
  }
  return values;
};

const put = (values) => {
  for (const field of fieldsOf()) {
    const found = values[field.name] ?? [];
    if (["radio", "checkbox"].includes(field.type)) field.checked = found.includes(field.value);
    else if (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === found[0])) field.value = found[0] ?? "";
    if (field.type !== "radio" && found[0] && field.value === found[0]) field.dispatchEvent(new Event("input", { bubbles: true }));
  }
};

const read = (key) => {
  try {
    const kept = JSON.parse(localStorage.getItem(key));
    if (kept && Date.now() - kept.at < KEPT_DAYS * 86_400_000) return kept.values;
    localStorage.removeItem(key);
  } catch {
    // No storage, or something else's words in it: then there is nothing to give back.
  }
  return null;
};

const write = (key, values) => {
  try {
    localStorage.setItem(key, JSON.stringify({ at: Date.now(), values }));
  } catch {
    // A full or forbidden storage costs the safety net, not the report.
  }
};

if (form) {
  const key = `${STORE}${form.dataset.keep}`;
  const before = JSON.stringify(typed());
  const kept = read(key);
  const isFresh = !form.querySelector(".error-summary");
  if (kept && isFresh && JSON.stringify(kept) !== before) {
    put(kept);
    const notice = document.getElementById("kept");
    const [words, button] = [notice.querySelector("p"), notice.querySelector("button")];
    words.textContent = form.dataset.kept;
    button.textContent = form.dataset.startAfresh;
    button.addEventListener("click", () => {
      localStorage.removeItem(key);
      put(JSON.parse(before));
      notice.hidden = true;
      form.elements.title.focus();
    });
    notice.hidden = false;
  }

  let timer;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => write(key, typed()), PAUSE);
  };
  form.addEventListener("input", later);
  form.addEventListener("change", later);
  form.addEventListener("submit", () => {
    clearTimeout(timer);
    write(key, typed());
    sessionStorage.setItem(`${STORE}sent`, key);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(document.getElementById("post-report"));
    // Enter in the search for a prompt looks for it; it does not send the report.
    if (event.key === "Enter" && event.target.id === "find-prompt") event.preventDefault();
  });
  form.elements.department.addEventListener("change", (event) => {
    const name = event.target.selectedOptions[0];
    const label = form.querySelector('[name="is_anonymous"][value="1"] + span');
    label.textContent = name.value ? form.dataset.colleagueIn.replace("%s", name.text) : form.dataset.colleague;
  });
  form.querySelectorAll("[data-without-script]").forEach((part) => { part.hidden = true; });
} else if (document.querySelector("[data-own-report]")) {
  // The report arrived: what was kept of it on this device goes.
  const key = sessionStorage.getItem(`${STORE}sent`);
  if (key) {
    localStorage.removeItem(key);
    sessionStorage.removeItem(`${STORE}sent`);
  }
}
