// A swap that takes the focused button away (Cancel, once nothing is built any more) must not drop the focus at the
// top of the page. htmx itself gives it back where an element with the same id is there again.
(() => {
  let hadFocus = false;
  document.addEventListener("htmx:beforeSwap", () => {
    hadFocus = document.activeElement !== null && document.activeElement !== document.body;
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (!hadFocus || (document.activeElement && document.activeElement !== document.body)) return;
    if (!document.querySelector("dialog[open]")) document.querySelector("#main").focus({ preventScroll: true });
  });
})();
