// Setting up monitors and connections: what a choice asks for appears. Every page works without this file.

// A field that only some choices need is left out of the keyboard's way, too.
const needsValue = (select) => {
  const value = select.closest(".rule")?.querySelector("textarea");
  const lists = select.closest("[data-without-value]")?.dataset;
  if (!value || !lists) return;
  value.disabled = value.hidden = lists.withoutValue.split(" ").includes(select.value);
  select.closest(".rule").querySelector(".rule__near").hidden = !lists.near.split(" ").includes(select.value.replace(/^not-/, ""));
};

const follow = (root) => root.querySelectorAll?.(".rule select").forEach(needsValue);

// What was unfolded stays so when a row is added or removed.
document.addEventListener("toggle", (event) => {
  const mark = event.target.matches?.(".test-case") && event.target.querySelector("[data-open]");
  if (mark) mark.value = event.target.open ? "1" : "";
}, true);

// The list of mistakes leads into folded test cases as well.
document.addEventListener("click", (event) => {
  const goal = event.target.closest?.('.error-summary a[href^="#"]');
  const fold = goal && document.getElementById(goal.hash.slice(1))?.closest("details");
  if (fold) fold.open = true;
});

// Another service leads to another address, as long as nobody has written one of their own.
const pointToService = (select) => {
  const form = select.form;
  const address = form.elements.base_url;
  const usual = new Map([...form.querySelectorAll("[data-usual-address]")].map((hint) => [hint.dataset.service, hint.dataset.usualAddress]));
  if (!address.value || [...usual.values()].includes(address.value)) address.value = usual.get(select.value) ?? "";
};

document.addEventListener("change", (event) => {
  if (event.target.matches?.(".rule select")) needsValue(event.target);
  if (event.target.matches?.(".connection-form [name=service]")) pointToService(event.target);
});
document.addEventListener("htmx:afterSettle", (event) => follow(event.detail.elt));
follow(document);
