// Asks the server. Texts of answers are shown as texts, never as markup.

export async function ask(path, signal) {
  const answer = await fetch(path, { signal });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || `error ${answer.status}`);
  return found;
}

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(given).toString();
}

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function bytes(count) {
  let value = count;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (value < 999.5 || unit === "TB") {
      const digits = unit === "B" || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
      return `${value.toFixed(digits)} ${unit}`;
    }
    value /= 1000;
  }
  return "";
}

export const number = (count) => count.toLocaleString("en-US");
export const counted = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

// Where a picture is; of a task that this browser could not decode, decoded by the server.
export function picture(archive, index, task, what, size) {
  const drawn = what === "decoded" && archive.drawn?.has(task) ? "/drawn" : "";
  return `/picture/${archive.version}/${index}/${task}/${what}/${size}${drawn}`;
}

// Whether a picture that failed may do when the server decodes it.
export function canBeDrawn(archive, task, what, source) {
  const described = archive.tasks.find((one) => one.name === task);
  return what === "decoded" && described?.undecoded && !source.endsWith("/drawn");
}

export function drawFromNowOn(archive, task) {
  archive.drawn ??= new Set();
  archive.drawn.add(task);
}

let fading = 0;
export function notice(text) {
  const box = document.getElementById("notice");
  box.textContent = text;
  box.classList.add("seen");
  clearTimeout(fading);
  fading = setTimeout(() => box.classList.remove("seen"), 3200);
}
