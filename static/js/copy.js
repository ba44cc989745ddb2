// <button data-copy="#id">: copies the text of that element and says so for two seconds.
(() => {
  const copied = async (text) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const box = document.createElement("textarea"); // plain http on another machine has no clipboard API
    box.value = text;
    box.className = "visually-hidden";
    (document.querySelector("dialog[open]") || document.body).append(box);
    box.select();
    const isDone = document.execCommand("copy");
    box.remove();
    if (!isDone) throw new Error("copy was refused");
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const label = button.querySelector("[data-copy-label]");
    const text = document.querySelector(button.dataset.copy).textContent.trim();
    const before = button.dataset.label || label.textContent;
    button.dataset.label = before;
    try {
      await copied(text);
      label.textContent = button.dataset.done;
    } catch {
      label.textContent = button.dataset.failed;
    }
    button.focus();
    setTimeout(() => {
      label.textContent = before;
    }, 2000);
  });
  document.documentElement.classList.add("has-scripts");
})();
