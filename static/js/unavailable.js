// A button that can't be used now is aria-disabled: it keeps the focus, so that its reason is read, and does nothing.
document.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("[aria-disabled='true']");
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    button.focus();
  },
  true,
);
