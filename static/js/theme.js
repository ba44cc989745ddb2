// Loaded first, in the head: the chosen theme is on the root element before anything is painted.
(() => {
  const NAMES = ["system", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is forbidden: the system's theme
    }
  };
  const current = () => (NAMES.includes(stored()) ? stored() : "system");
  const apply = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    document.dispatchEvent(new CustomEvent("themechange"));
  };
  const label = (button) => {
    button.querySelector("[data-theme-name]").textContent = button.dataset[current()];
  };
  apply(current());
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.hidden = false;
      label(button);
      button.addEventListener("click", () => {
        const next = NAMES[(NAMES.indexOf(current()) + 1) % NAMES.length];
        try {
          localStorage.setItem("theme", next);
        } catch {
          button.title = button.dataset.unstored;
        }
        apply(next);
        label(button);
      });
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(current()));
})();
