// Buttons with data-dialog put their page's content into the one <dialog>. htmx fetches it; this opens and closes.
(() => {
  const dialog = document.querySelector("#dialog");
  if (!dialog) return;
  const body = dialog.querySelector("#dialog-body");
  let opener = null;
  const close = () => dialog.open && dialog.close();

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-dialog]");
    if (link) opener = link;
    if (event.target.closest("#dialog [data-close]")) {
      event.preventDefault();
      close();
    }
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== body || body.childElementCount === 0) return;
    const title = body.querySelector("h1, h2");
    if (title) dialog.setAttribute("aria-labelledby", title.id);
    if (!dialog.open) dialog.showModal();
    const first = body.querySelector("[aria-invalid='true'], [autofocus]");
    if (first) first.focus();
  });
  // An action was carried out: its answer went to the page behind.
  document.addEventListener("dialog-close", close);
  dialog.addEventListener("close", () => {
    body.replaceChildren(); // it may hold a key
    // The opener may have been replaced by a newer copy of itself meanwhile.
    const back = opener && (opener.isConnected ? opener : document.getElementById(opener.id));
    if (back) back.focus();
    else document.querySelector("#main").focus();
  });
})();
