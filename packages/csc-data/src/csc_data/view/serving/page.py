"""The page that a link leads to: it opens the viewer at one of the places that are offered."""

from __future__ import annotations

import html
from collections.abc import Mapping
from string import Template

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CellMap volumes</title>
<link rel="icon" href="data:,">
<style>
  html, body { height: 100%; margin: 0; background: #111; color: #ddd; font: 14px/1.4 system-ui, sans-serif; }
  body { display: flex; }
  nav { width: 17em; overflow-y: auto; flex: none; padding: .5em 0; }
  nav a { display: block; padding: .3em 1em; color: inherit; text-decoration: none; white-space: pre-line; }
  nav a:hover, nav a[aria-current] { background: #333; }
  nav ol { list-style: none; margin: 0; padding: 0 0 .5em; }
  nav li a { padding-left: 2em; color: #aaa; font-size: .92em; }
  iframe { border: 0; flex: 1; height: 100%; }
</style>
</head>
<body>
<nav hidden>$links</nav>
<script>
  // The state holds this page's own address, so the viewer works behind any port that ssh forwards.
  const open = async (name, whole) => {
    const answer = await fetch("state/" + name);
    if (!answer.ok) { document.title = await answer.text(); alert(document.title); return; }
    const state = await answer.json();
    const link = "v/view/#!" + encodeURIComponent(JSON.stringify(state));
    const spots = await (await fetch("spots/" + name)).json();
    if (whole && !spots.length) { location.replace(link); return; }
    document.querySelector("nav").hidden = false;
    document.querySelector("iframe")?.remove();
    const frame = document.createElement("iframe");
    frame.src = link;
    document.body.append(frame);
    for (const a of document.querySelectorAll("nav > a")) a.toggleAttribute("aria-current", a.dataset.name === name);
    list(spots, name, frame);
  };
  // A spot changes where the viewer looks, and nothing else of what somebody has made of the view.
  const list = (spots, name, frame) => {
    document.querySelector("nav ol")?.remove();
    if (!spots.length) return;
    const lines = document.createElement("ol");
    for (const { title, ...change } of spots) {
      const a = document.createElement("a");
      a.href = "#";
      a.textContent = title;
      a.onclick = (event) => {
        event.preventDefault();
        const [page, hash] = frame.contentWindow.location.href.split("#!");
        const state = { ...JSON.parse(decodeURIComponent(hash)), ...change };
        frame.contentWindow.location.replace(page + "#!" + encodeURIComponent(JSON.stringify(state)));
        for (const other of lines.querySelectorAll("a")) other.toggleAttribute("aria-current", other === a);
      };
      lines.appendChild(document.createElement("li")).append(a);
    }
    document.querySelector(`nav > a[data-name="$${name}"]`).after(lines);
  };
  const places = [...document.querySelectorAll("nav > a")];
  if (places.length === 1) open(places[0].dataset.name, true);
  else if (places.length) {
    document.querySelector("nav").hidden = false;
    for (const a of places) a.onclick = (event) => { event.preventDefault(); open(a.dataset.name); };
    open(places[0].dataset.name);
  }
</script>
</body>
</html>
""")


def front_page(titles: Mapping[str, str]) -> str:
    """Return the page: one place fills it, several stand in a list beside the viewer.

    Parameters
    ----------
    titles : mapping
        Name of a state to what the list says of it.

    Examples
    --------
    >>> "crop 234" in front_page({"0": "crop 234"})
    True
    """
    links = [f'<a href="#" data-name="{html.escape(name)}">{html.escape(title)}</a>' for name, title in titles.items()]
    return _PAGE.substitute(links="".join(links))
