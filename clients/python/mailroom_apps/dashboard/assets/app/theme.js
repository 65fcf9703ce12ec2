// Light or dark: as the system says, or as the reader chose.

import * as storage from "./storage.js";

const THEMES = ["system", "light", "dark"];
let theme = storage.read("theme", "system");

export function applyTheme() {
  document.documentElement.dataset.theme = theme;
}

export function nextTheme() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  storage.write("theme", theme);
  applyTheme();
  return theme;
}
