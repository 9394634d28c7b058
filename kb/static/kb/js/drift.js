// Setting up monitors and connections: what a choice asks for appears. Every page works without this file.

// A field that only some choices need is left out of the keyboard's way, too.
const needsValue = (select) => {
  const value = select.closest(".rule")?.querySelector("textarea");
  if (value) value.disabled = select.value.endsWith("is-json");
};

const follow = (root) => root.querySelectorAll?.(".rule select").forEach(needsValue);

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
