// The script of the page: tables that sort and filter, and a treemap to walk through. Without it the page is whole.
// Names from the registry only ever become text (textContent) or attributes that are read out.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const say = (text) => { byId("status").textContent = text; };
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
  // As the writer of the page shows sizes; halves go to the even digit there.
  const bytes = (number) => {
    let [size, unit] = [number, 0];
    while (size >= 1024) [size, unit] = [size / 1024, unit + 1];
    if (unit === 0) return `${number} B`;
    const hundredths = size * 100;
    let rounded = Math.round(hundredths);
    if (hundredths % 1 === 0.5 && rounded % 2 === 1) rounded -= 1;
    return `${(rounded / 100).toFixed(2)} ${"KMGTPE"[unit - 1]}iB`;
  };

  // ------------------------------------------------------------------------------------------------------------ tables

  const collator = new Intl.Collator("en", { numeric: true });
  const isNumber = (heading) => heading.classList.contains("number");
  const valueOf = (cell, numeric) => {
    const value = cell.dataset.v ?? cell.textContent;
    if (value === "") return null;
    return numeric ? Number(value) : value;
  };

  const sort = (table, heading, isDescending) => {
    const place = heading.cellIndex;
    const numeric = isNumber(heading);
    const sign = isDescending ? -1 : 1;
    const keyed = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[place], numeric), row]);
    keyed.sort(([a], [b]) => {
      // What is not known comes last, however they are sorted.
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? a - b : collator.compare(a, b));
    });
    table.tBodies[0].append(...keyed.map(([, row]) => row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
  };

  const makeSortable = (box) => {
    const table = box.querySelector("table");
    for (const heading of table.tHead.rows[0].cells) {
      const name = heading.textContent;
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        const sorted = heading.getAttribute("aria-sort");
        // The first time as one expects it: figures from the largest, words from A.
        const isDescending = sorted === null ? isNumber(heading) : sorted === "ascending";
        sort(table, heading, isDescending);
        const title = box.querySelector("h2, h3").textContent;
        say(`${title}: sorted by ${name}, ${isDescending ? "descending" : "ascending"}`);
      });
      heading.replaceChildren(button);
    }
  };

  const makeFilter = (box) => {
    const rows = [...box.querySelector("table").tBodies[0].rows];
    if (rows.length < 10) return;
    const title = box.querySelector("h2, h3").textContent;
    const said = box.querySelector(".rows");
    const before = said.textContent;
    const input = make("input", {
      type: "search", "aria-label": `Filter ${title}`, autocomplete: "off", spellcheck: "false",
    });
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      said.textContent = wanted.length === 0 ? before : `${count(shown)} of ${before}`;
      say(`${title}: ${said.textContent}`);
    });
    box.querySelector(".above").append(make("label", { class: "filter" }, "Filter", input));
  };

  for (const box of document.querySelectorAll(".tabled")) {
    if (box.querySelector("table") === null) continue;
    makeSortable(box);
    if (box.id !== "inside") makeFilter(box);
  }
  // The exact number, for whoever asks; not in the file, where it would be as long as the rest.
  document.addEventListener("pointerover", (event) => {
    const cell = event.target.closest?.("td.number[data-v]");
    if (cell && !cell.title && /B$/.test(cell.textContent)) cell.title = `${count(cell.dataset.v)} bytes`;
  });

  // ----------------------------------------------------------------------------------------------------------- treemap

  const data = byId("parts");
  if (data === null) return;
  const CLASSES = ["live", "shared", "untagged", "garbage"];
  const { kinds, parts } = JSON.parse(data.textContent);
  const store = read();
  const map = byId("map");
  const detail = make("p", { class: "detail", "aria-hidden": "true" });
  const trail = make("ol");
  const place = make("nav", { class: "place", "aria-label": "Place in the store" }, trail);
  const help = make("p", { class: "unseen", id: "map-help" },
    "Left and right: to what is beside it; down: into it; up: out of it; Enter: enlarge; Escape: back.");
  map.before(place);
  map.after(detail, help);
  let root = store;
  let cells = [];
  let focused = null;

  function read() {
    const all = parts.map(([parent, kind, number, name, ...own]) => ({
      parent, number, own: CLASSES.map((_, index) => own[index] ?? 0), children: [],
      kind: kinds[kind][0], separator: kinds[kind][1], name: name === "" ? kinds[kind][0] : name, hasName: name !== "",
    }));
    for (let index = all.length - 1; index > 0; index -= 1) {
      const part = all[index];
      part.parent = all[part.parent];
      part.own.forEach((size, place) => { part.parent.own[place] += size; });
      part.parent.children.unshift(part);
    }
    all[0].parent = null;
    for (const part of all) {
      part.sum = sum(part.own);
      part.children.sort((a, b) => sum(b.own) - sum(a.own));
    }
    return all[0];
  }

  function sum(own) { return own[0] + own[1] + own[2] + own[3]; }

  // Whether it is one part, not several that are summed up.
  function isNamed(part) { return part.kind !== "others" || part.number === 0; }

  function fullName(part) {
    if (part.parent === null) return "the store";
    return part.parent.parent === null ? part.name : fullName(part.parent) + part.separator + part.name;
  }

  function amount(own) {
    const there = CLASSES.flatMap((name, index) => own[index] > 0 ? [[name, own[index]]] : []);
    if (there.length < 2) return [bytes(sum(own)), ...there.map(([name]) => name)].join(", ");
    return `${bytes(sum(own))}: ${there.map(([name, size]) => `${bytes(size)} ${name}`).join(", ")}`;
  }

  function shortened(text, room) {
    const letters = [...text];
    return letters.length <= room ? text : `${letters.slice(0, Math.max(room - 1, 0)).join("")}\u2026`;
  }

  // The layout is that of layout.rs and squarify.rs.
  const HEAD = 17, SPECK = 40, MOST = 1500, LETTER = 6.6, BOLD_LETTER = 7.2;

  function squarified(sizes, frame) {
    const rects = [];
    const scale = frame.width * frame.height / sizes.reduce((all, size) => all + size, 0);
    let free = { ...frame };
    const worst = (largest, smallest, all, side) =>
      Math.max(side * side * largest / (all * all), all * all / (side * side * smallest));
    for (let from = 0; from < sizes.length;) {
      const side = Math.min(free.width, free.height);
      const largest = sizes[from] * scale;
      let to = from + 1, all = largest, now = worst(largest, largest, all, side);
      for (; to < sizes.length; to += 1) {
        const next = sizes[to] * scale;
        const then = worst(largest, next, all + next, side);
        if (then > now) break;
        [now, all] = [then, all + next];
      }
      const isUpright = free.width >= free.height;
      const [long, available] = isUpright ? [free.height, free.width] : [free.width, free.height];
      const thickness = to === sizes.length ? available : Math.min(all / long, available);
      let begin = 0;
      for (let index = from; index < to; index += 1) {
        const length = long * sizes[index] * scale / all;
        rects.push(isUpright
          ? { x: free.x, y: free.y + begin, width: thickness, height: length }
          : { x: free.x + begin, y: free.y, width: length, height: thickness });
        begin += length;
      }
      free = isUpright
        ? { ...free, x: free.x + thickness, width: Math.max(free.width - thickness, 0) }
        : { ...free, y: free.y + thickness, height: Math.max(free.height - thickness, 0) };
      from = to;
    }
    return rects;
  }

  function sliced(own, rect) {
    const all = sum(own);
    let begin = 0;
    return own.flatMap((size, index) => {
      if (size === 0) return [];
      const [from, share] = [begin, size / all];
      begin += share;
      return [[CLASSES[index], rect.width >= rect.height
        ? { ...rect, x: rect.x + from * rect.width, width: share * rect.width }
        : { ...rect, y: rect.y + from * rect.height, height: share * rect.height }]];
    });
  }

  const pieces = (own) => own.filter((size) => size > 0).length;
  const hasHead = ({ width, height }) => width >= 46 && height >= 38;

  function inside(rect) {
    const [top, margin] = hasHead(rect) ? [HEAD, 2] : [1, 1];
    return {
      x: rect.x + margin, y: rect.y + top,
      width: Math.max(rect.width - 2 * margin, 0), height: Math.max(rect.height - top - margin, 0),
    };
  }

  function itemsOf(part, frame, most) {
    const area = frame.width * frame.height;
    if (part.sum === 0 || area <= 0 || most < 4) return [];
    if (part.children.length === 0) return part === root ? [{ part, own: part.own, number: 1 }] : [];
    let free = most;
    let shown = part.children.findIndex((child) => {
      free -= pieces(child.own);
      return child.sum * area / part.sum < SPECK || free < 4;
    });
    if (shown < 0) shown = part.children.length;
    if (part.children.length - shown === 1) shown += 1;
    const items = part.children.slice(0, shown).map((child) => ({ part: child, own: child.own, number: 1 }));
    const specks = part.children.slice(shown);
    if (specks.length > 0) {
      const own = CLASSES.map((_, index) => specks.reduce((all, speck) => all + speck.own[index], 0));
      const number = specks.reduce((all, speck) => all + (isNamed(speck) ? 1 : speck.number), 0);
      const behind = items.findIndex((item) => sum(item.own) < sum(own));
      items.splice(behind < 0 ? items.length : behind, 0, { part: null, own, number });
    }
    return items;
  }

  function layout(frame) {
    const all = [];
    const waiting = [{ within: null, part: root, frame, most: MOST }];
    while (waiting.length > 0) {
      const { within, part, frame, most } = waiting.pop();
      const items = itemsOf(part, frame, most);
      if (items.length === 0) continue;
      if (within !== null) within.isFrame = true;
      const rects = squarified(items.map((item) => sum(item.own)), frame);
      const cells = items.map((item, index) => ({ ...item, rect: rects[index], within, isFrame: false, cells: [] }));
      within?.cells.push(...cells);
      all.push(...cells);
      const divisible = cells.filter((cell) => {
        const room = inside(cell.rect);
        return cell.part !== null && cell.part.children.length > 0 && room.width * room.height > 2 * SPECK;
      });
      const left = most - items.reduce((used, item) => used + pieces(item.own), 0);
      const area = divisible.reduce((area, { rect }) => area + rect.width * rect.height, 0);
      for (const cell of divisible) {
        const share = Math.floor(Math.max(left, 0) * cell.rect.width * cell.rect.height / area);
        waiting.push({ within: cell, part: cell.part, frame: inside(cell.rect), most: share });
      }
    }
    return all;
  }

  const drawn = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const gapped = ({ x, y, width, height }) => ({
    x: (x + 0.5).toFixed(1), y: (y + 0.5).toFixed(1),
    width: Math.max(width - 1, 0.5).toFixed(1), height: Math.max(height - 1, 0.5).toFixed(1),
  });

  function draw() {
    // Who was in the picture stays at the same part.
    const kept = map.contains(document.activeElement) ? focused : null;
    const width = Math.max(map.clientWidth, 200);
    const height = Math.round(width < 640 ? Math.max(width * 1.3, 380) : Math.min(width * 0.51, 580));
    const svg = drawn("svg", {
      class: "map", viewBox: `0 0 ${width} ${height}`, width: "100%", role: "group", "font-size": "11",
      "aria-label": `Treemap of ${fullName(root)}, ${amount(root.own)}`, "aria-describedby": "map-help",
    });
    cells = layout({ x: 0, y: 0, width, height });
    focused = null;
    for (const cell of cells) {
      const { part, own, rect, isFrame } = cell;
      const name = part === null ? `${count(cell.number)} more` : part.name;
      const whole = part === null ? name : fullName(part);
      const into = target(cell);
      cell.text = `${whole}: ${amount(own)}`;
      if (part !== null && isNamed(part) && part.children.length === 0 && part.number > 0) {
        cell.text += `; what is in it (${count(part.number)}) is not in this page`;
      }
      const group = drawn("g", {
        tabindex: "-1", role: into === null ? "img" : "button",
        "aria-label": into === null ? cell.text : `${cell.text}; enlarge ${into === part ? "it" : fullName(into)}`,
        ...(into === null ? {} : { class: "into" }),
      });
      const title = drawn("title", {});
      title.textContent = cell.text;
      group.append(title);
      if (isFrame) {
        group.append(drawn("rect", { class: "frame", ...gapped(rect) }));
      } else {
        for (const [name, piece] of sliced(own, rect)) {
          group.append(drawn("rect", { fill: `url(#fill-${name})`, ...gapped(piece) }));
        }
      }
      lines(name, cell).forEach(([line, y]) => {
        const text = drawn("text", { class: isFrame ? "head" : "on", x: (rect.x + 4).toFixed(1), y: y.toFixed(1) });
        text.textContent = line;
        group.append(text);
      });
      cell.group = group;
      group.cell = cell;
      svg.append(group);
    }
    svg.halo = drawn("rect", { class: "halo", visibility: "hidden" });
    svg.focusRect = drawn("rect", { class: "focus", visibility: "hidden" });
    svg.append(svg.halo, svg.focusRect);
    cells[0]?.group.setAttribute("tabindex", "0");
    map.replaceChildren(svg);
    map.lastWidth = map.clientWidth;
    detail.textContent = amount(root.own);
    if (kept !== null) {
      const same = cells.find((cell) => cell.part === kept.part) ?? cells[0];
      if (same !== undefined) focus(same);
    }
  }

  function lines(name, { rect, own, isFrame }) {
    const room = Math.floor((rect.width - 8) / (isFrame ? BOLD_LETTER : LETTER));
    const size = bytes(sum(own));
    if (isFrame) {
      if (!hasHead(rect)) return [];
      const line = `${name}  ${size}`;
      return [[line.length <= room ? line : shortened(name, room), rect.y + 13]];
    }
    if (room < 4 || rect.height < 16) return [];
    const first = [shortened(name, room), rect.y + 13];
    return rect.height >= 32 && size.length <= room ? [first, [size, rect.y + 27]] : [first];
  }

  // What a click on a cell enlarges: the part itself, or what it lies in.
  function target({ part, within }) {
    const wanted = part !== null && part.children.length > 0 ? part : within === null ? null : within.part;
    return wanted === root ? null : wanted;
  }

  function focus(cell) {
    cell.group.focus({ preventScroll: true });
  }

  map.addEventListener("focusin", (event) => {
    const cell = event.target.closest("g")?.cell;
    if (cell === undefined) return;
    for (const other of [focused, cells[0]]) other?.group.setAttribute("tabindex", "-1");
    cell.group.setAttribute("tabindex", "0");
    focused = cell;
    detail.textContent = cell.text;
    // Only for those who move by keyboard.
    if (!cell.group.matches(":focus-visible")) return;
    const svg = map.firstElementChild;
    const { x, y, width, height } = cell.rect;
    const size = { width: Math.max(width - 4, 1), height: Math.max(height - 4, 1) };
    const attributes = { x: x + 2, y: y + 2, ...size, visibility: "visible" };
    for (const outline of [svg.halo, svg.focusRect]) {
      for (const [key, value] of Object.entries(attributes)) outline.setAttribute(key, value);
    }
  });
  map.addEventListener("focusout", () => {
    const svg = map.firstElementChild;
    for (const outline of [svg?.halo, svg?.focusRect]) outline?.setAttribute("visibility", "hidden");
  });
  map.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("g")?.cell;
    if (cell !== undefined) detail.textContent = cell.text;
  });
  map.addEventListener("click", (event) => {
    const cell = event.target.closest("g")?.cell;
    const into = cell === undefined ? null : target(cell);
    if (into !== null) show(into);
  });
  map.addEventListener("keydown", (event) => {
    const cell = event.target.closest("g")?.cell;
    if (cell === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const siblings = cell.within === null ? cells.filter((other) => other.within === null) : cell.within.cells;
    const at = siblings.indexOf(cell);
    const next = {
      ArrowRight: () => siblings[at + 1], ArrowLeft: () => siblings[at - 1], Home: () => siblings[0],
      End: () => siblings[siblings.length - 1], ArrowDown: () => cell.cells[0], ArrowUp: () => cell.within,
    }[event.key];
    if (next !== undefined) {
      const found = next();
      if (found) focus(found);
      event.preventDefault();
    } else if (event.key === "Enter" || event.key === " ") {
      const into = target(cell);
      if (into !== null) show(into, () => { if (cells.length > 0) focus(cells[0]); });
      event.preventDefault();
    }
  });
  byId("store").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || root.parent === null) return;
    const left = root;
    show(root.parent, () => {
      const back = cells.find((cell) => cell.part === left) ?? cells[0];
      if (back !== undefined) focus(back);
    });
    event.preventDefault();
  });

  // Shows a part as the whole picture; then the focus goes where it is told, or to the end of the trail.
  function show(part, then) {
    root = part;
    draw();
    const way = [];
    for (let step = root; step !== null; step = step.parent) way.unshift(step);
    trail.replaceChildren(...way.map((step) => {
      const name = step.parent === null ? "The store" : step.name;
      if (step === root) return make("li", { "aria-current": "location", tabindex: "-1" }, name);
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => show(step));
      return make("li", {}, button);
    }));
    tell();
    const hidden = root.children.length;
    const parts = hidden > 0 ? `; ${count(hidden)} ${hidden === 1 ? "part" : "parts"}` : "";
    say(`${fullName(root)}: ${amount(root.own)}${parts}`);
    if (then !== undefined) then();
    else trail.lastElementChild.focus({ preventScroll: true });
  }

  // The table below the picture, with what is in the part that is shown.
  function tell() {
    const SHOWN = 12;
    const box = byId("inside");
    const table = box.querySelector("table");
    const name = `What is in ${fullName(root)}`;
    const numbers = (own) => [sum(own), ...own]
      .map((size) => make("td", { class: size === 0 ? "number zero" : "number", "data-v": size }, bytes(size)));
    // A store without parts is what there is.
    const parts = root.children.length === 0 ? [root] : root.children;
    const named = parts.filter(isNamed);
    const shown = named.slice(0, SHOWN);
    const others = [...named.slice(SHOWN), ...parts.filter((part) => !isNamed(part))];
    table.tBodies[0].replaceChildren(...shown.map((part) => {
      const heading = make("th", { scope: "row" });
      if (part.children.length > 0) {
        const button = make("button", { type: "button" }, fullName(part));
        button.addEventListener("click", () => show(part));
        heading.append(button);
      } else {
        heading.append(fullName(part));
      }
      const kind = part.hasName && part.kind !== "others" ? part.kind : "";
      return make("tr", {}, heading, make("td", {}, kind), ...numbers(part.own));
    }));
    table.tFoot?.remove();
    const left = others.reduce((all, part) => all + (isNamed(part) ? 1 : part.number), 0);
    if (others.length > 0) {
      const own = CLASSES.map((_, index) => others.reduce((all, part) => all + part.own[index], 0));
      const heading = make("th", { scope: "row" }, `${count(left)} more`);
      table.append(make("tfoot", {}, make("tr", {}, heading, make("td"), ...numbers(own))));
    }
    const headings = table.tHead.rows[0].cells;
    for (const heading of headings) heading.removeAttribute("aria-sort");
    headings[2].setAttribute("aria-sort", "descending");
    const rows = `${count(shown.length)} ${shown.length === 1 ? "row" : "rows"}`;
    const counted = others.length > 0 ? `the first ${count(shown.length)} of ${count(shown.length + left)} rows` : rows;
    box.querySelector("h3").textContent = name;
    box.querySelector(".rows").textContent = counted;
    table.caption.textContent = `${name}, ${counted}`;
  }

  const first = make("li", { "aria-current": "location", tabindex: "-1" }, "The store");
  trail.append(first);
  draw();
  tell();
  new ResizeObserver(() => { if (map.clientWidth !== map.lastWidth) draw(); }).observe(map);
})();
