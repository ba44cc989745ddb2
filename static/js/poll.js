// Keeps the Create API tab true: asks for changes each data-every ms, not on hidden tabs, and says so when nobody answers.
(() => {
  const TICK_MS = 100;
  const SOON_MS = 1400;
  const SILENT_AFTER_MS = 15000;
  const LOST_AFTER_MS = 25000; // longer than htmx's own timeout
  const notice = document.querySelector("#last-checked");
  let asked = null; // the poller that asks now; an answer puts another one in its place
  let askedAt = 0;
  let answeredAt = Date.now();
  let soonAt = Infinity; // counts of a request just sent reach the database within about a second
  let actedAt = 0; // when an action was sent that is not answered yet

  const poller = () => document.querySelector("#api-poll");
  const isAsking = () => asked !== null && asked === poller() && Date.now() - askedAt < LOST_AFTER_MS;
  const isDue = () => Date.now() >= soonAt || Date.now() - Math.max(askedAt, answeredAt) >= Number(poller().dataset.every);
  const ask = () => {
    if (!poller() || document.hidden || Date.now() - actedAt < LOST_AFTER_MS || isAsking()) return;
    asked = poller();
    askedAt = Date.now();
    if (askedAt >= soonAt) soonAt = Infinity;
    htmx.trigger(asked, "poll");
  };
  const showSilence = () => {
    const isSilent = !document.hidden && Date.now() - answeredAt > SILENT_AFTER_MS;
    if (isSilent && notice.hidden) {
      const time = new Date(answeredAt).toLocaleTimeString(document.documentElement.lang, { timeStyle: "short" });
      notice.textContent = `${notice.dataset.text} ${time}`;
    }
    notice.hidden = !isSilent;
  };

  // An action comes between: the answer to an older question would show an older state.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.requestConfig.verb === "get") return;
    actedAt = Date.now();
    // Not htmx:afterRequest: it tells nobody when the dialog with the button was closed meanwhile.
    event.detail.xhr.addEventListener("loadend", () => {
      actedAt = 0;
      soonAt = Date.now() + SOON_MS;
    });
    if (poller()) htmx.trigger(poller(), "htmx:abort");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const status = event.detail.xhr?.status ?? 0;
    if (status > 0 && status < 500) answeredAt = Date.now();
    if (event.detail.requestConfig?.triggeringEvent?.type === "poll") asked = null;
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    answeredAt = Math.max(answeredAt, Date.now() - SILENT_AFTER_MS / 2); // nobody asked meanwhile
    ask();
  });
  setInterval(() => {
    if (poller() && isDue()) ask();
    showSilence();
  }, TICK_MS);
})();
