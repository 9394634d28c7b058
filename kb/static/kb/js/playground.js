// The playground: no more models than fit side by side. The page works without this file; then the server says it.

const hold = (group) => {
  const boxes = [...group.querySelectorAll("[name=target]")];
  const isFull = boxes.filter((box) => box.checked).length >= Number(group.dataset.most);
  for (const box of boxes) box.disabled = isFull && !box.checked;
};

for (const group of document.querySelectorAll("[data-most]")) {
  group.addEventListener("change", () => hold(group));
  hold(group);
}
