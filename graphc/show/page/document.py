"""The page around the sections: one file, no request, light and dark, printable, usable by keyboard."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.records import record
from graphc.show.diagram.svg import DARK, LIGHT
from graphc.show.page.tags import section, text

LARGEST = 2_000_000  # bytes


@record
class Part:
    """A section; one that is ``spare`` is left out, the last first, when the page would be too large."""

    name: str
    title: str
    inside: str
    spare: str = ""


STYLE = (
    f":root{{color-scheme:light dark;{LIGHT}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}"
    f"@media print{{:root{{color-scheme:light;{LIGHT}}}}}"
    """
*{box-sizing:border-box}
body{margin:0;background:var(--b);color:var(--i);font:16px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}
h1{margin:1.4rem 0 .2rem;font-size:1.7rem}
h2{margin:2.2rem 0 .6rem;font-size:1.25rem;border-bottom:1px solid var(--l)}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;padding:.5rem 0} a{color:var(--blue)} p{margin:.4rem 0}
code,pre,.no{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:.86em}
math{font-family:"STIX Two Math","Latin Modern Math","Cambria Math",math,"DejaVu Serif",serif}
.skip{position:absolute;left:-99rem} .skip:focus{left:1rem;top:.5rem;background:var(--b);padding:.3rem .6rem;z-index:3}
.lead,.file,caption,figcaption{color:var(--m)} .file{margin-bottom:.1rem}
.wide{overflow:auto;max-width:100%}
pre.wide{background:var(--f);border:1px solid var(--l);border-radius:6px;padding:.6rem .8rem;max-height:34rem}
pre{line-height:1.4;margin:.2rem 0 .8rem}
table{border-collapse:collapse;font-size:.92rem} caption{text-align:left;padding:.2rem 0;white-space:nowrap}
th,td{text-align:left;padding:.22rem .8rem .22rem 0;border-bottom:1px solid var(--f);vertical-align:top}
th{border-color:var(--l)}
ol.lines{list-style:none;padding:0;margin:0}
ol.lines>li{padding:.3rem .6rem;border-left:4px solid transparent;border-radius:4px}
summary{cursor:pointer;padding:.1rem 0;overflow-x:auto;overflow-y:hidden}
summary>math,li>math{font-size:1.12rem;margin:0 .4rem} details>p,details>div{margin-left:1.6rem}
.number{float:right;color:var(--m);font-size:.85rem;margin-left:1rem}
.tag{font-size:.78rem;border:1px solid var(--green);color:var(--green);border-radius:9px;padding:0 .5rem}
.line{display:block;border-radius:3px} .gap{color:var(--m)}
.no{display:inline-block;width:3em;color:var(--m);user-select:none}
.on:not(.box):not(.edge){background:color-mix(in srgb,var(--orange) 20%,var(--b))}
ol.lines>li.on{border-color:var(--orange)}
#shown{position:sticky;bottom:0;background:var(--b);border-top:2px solid var(--orange);padding:.5rem 0;z-index:2;
min-height:3.2rem;max-height:45vh;overflow:auto}
#shown pre{margin:.3rem 0} #shown math{font-size:1.2rem}
.chart{width:100%;max-width:46rem;font-size:11px} .chart text{fill:var(--m)} .chart .grid{stroke:var(--l);opacity:.35}
.chart .curve{fill:none;stroke:var(--blue);stroke-width:2}
.chart .val{stroke:var(--orange);stroke-dasharray:6 4}
.chart circle.curve{fill:var(--blue)} figure{margin:.6rem 0} .bad{color:var(--orange);font-weight:600}
:focus-visible{outline:3px solid var(--blue);outline-offset:2px}
@media print{nav,.skip,#shown{display:none} .wide,pre.wide{overflow:visible;max-height:none;white-space:pre-wrap}
svg.gc{max-width:100%;height:auto} h2{break-after:avoid} li,tr,figure{break-inside:avoid}}
"""
)

# Pointing at a box, a formula or a loop, or reaching it by keyboard, marks what belongs to it; below the picture the
# formula, the line that declares it and its loops are shown together. Escape clears. Printing opens all steps.
SCRIPT = """
(function(){
const shown=document.getElementById('shown'),byId=id=>document.getElementById(id);
function parts(el){return (el.dataset.marks||'').split(' ').filter(Boolean).map(byId).filter(Boolean)}
function level(text){const rows=text.split('\\n'),full=rows.filter(r=>r.trim());
  const least=Math.min(...full.map(r=>r.length-r.trimStart().length));return rows.map(r=>r.slice(least)).join('\\n')}
function clear(){document.querySelectorAll('.on').forEach(e=>e.classList.remove('on'))}
function mark(el){
  clear();el.classList.add('on');
  const all=parts(el);all.forEach(e=>e.classList.add('on'));
  const box=el.classList.contains('box')?el:all.find(e=>e.classList.contains('box'));
  if(box)document.querySelectorAll('.edge').forEach(e=>
    e.classList.toggle('on',e.dataset.from===box.id||e.dataset.to===box.id));
  if(shown&&el.classList.contains('box')){
    shown.replaceChildren();
    for(const e of all){
      const m=e.tagName==='LI'?e.querySelectorAll('summary>math,:scope>math'):[];
      if(m.length){const p=document.createElement('p');m.forEach(x=>p.append(x.cloneNode(true)));shown.append(p)}
      else if(e.classList.contains('line')||e.classList.contains('loop')){
        const p=document.createElement('pre');p.textContent=level(e.textContent);shown.append(p)}
    }
    if(!shown.childNodes.length)shown.textContent=el.getAttribute('aria-label');
  }
}
function from(e){return e.target.closest&&e.target.closest('[data-marks]')}
document.addEventListener('mouseover',e=>{const t=from(e);if(t)mark(t)});
document.addEventListener('focusin',e=>{const t=from(e);if(t)mark(t)});
document.addEventListener('keydown',e=>{
  if(e.key==='Escape')clear();
  const t=from(e);
  if(t&&t.classList.contains('box')&&(e.key==='Enter'||e.key===' ')){go(t);e.preventDefault()}
});
document.addEventListener('click',e=>{const t=from(e);if(t&&t.classList.contains('box'))go(t)});
function go(box){const f=parts(box).find(e=>e.tagName==='LI');if(!f)return;
  const d=f.querySelector('details');if(d)d.open=true;
  f.scrollIntoView({block:'center'});const s=f.querySelector('summary');if(s)s.focus({preventScroll:true})}
window.addEventListener('beforeprint',()=>document.querySelectorAll('details').forEach(d=>d.open=true));
})();
"""


def document(title: str, lead: str, parts: Sequence[Part], limit: int = LARGEST) -> str:
    """The page; spare parts are left out, the last first, while it is larger than ``limit`` bytes."""
    kept = list(parts)
    page = _whole(title, lead, kept)
    for part in reversed([p for p in parts if p.spare]):
        if len(page.encode()) <= limit:
            break
        short = Part(part.name, part.title, f"<p>Left out, to keep the page below {limit:,} bytes: {part.spare}</p>")
        kept[kept.index(part)] = short
        page = _whole(title, lead, kept)
    return page


def _whole(title: str, lead: str, parts: Sequence[Part]) -> str:
    links = "".join(f'<a href="#{p.name}">{text(p.title)}</a>' for p in parts)
    body = "\n".join(section(p.name, p.title, p.inside) for p in parts)
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header><h1>{text(title)}</h1><p class="lead">{text(lead)}</p><nav aria-label="Sections">{links}</nav></header>
<main id="main">
{body}
</main>
<footer><p class="lead">Written by graphc.</p></footer>
<script>{SCRIPT}</script>
</body>
</html>
"""
