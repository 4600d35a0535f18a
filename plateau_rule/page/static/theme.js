// Light or dark: as the system has it, until somebody turns it here.

import { byId } from "./dom.js";

export function themed() {
  const root = document.documentElement;
  const saved = remembered();
  if (saved) root.dataset.theme = saved;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remembered(root.dataset.theme);
  });
}

// A browser may keep nothing for a file, or for anybody.
function remembered(theme) {
  try {
    if (theme) localStorage.setItem("plateau-theme", theme);
    return localStorage.getItem("plateau-theme");
  } catch {
    return null;
  }
}
