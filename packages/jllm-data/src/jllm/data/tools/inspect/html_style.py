"""The style sheet of the report page, for light and dark screens and for print."""

STYLE = """
:root { color-scheme: light dark; --back: #f7f7f5; --card: #ffffff; --ink: #1d1f23;
  --pale: #5f6570; --line: #dcdde0; --bar: #2f6fb5; --rest: #e3e6ea; --mark: #d5efd8;
  --mark-ink: #0d3b16; --note: #fff3cf; }
@media (prefers-color-scheme: dark) { :root { --back: #15171a; --card: #1e2125; --ink: #e8e9eb;
  --pale: #a3a9b3; --line: #363a41; --bar: #6ca8e8; --rest: #363a41; --mark: #1f4a2a;
  --mark-ink: #d2f5d9; --note: #46390f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
header p { color: var(--pale); margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 12px; }
h3 { font-size: 1rem; margin: 24px 0 4px; overflow-wrap: anywhere; }
h4 { font-size: .85rem; font-weight: 600; margin: 12px 0 0; padding-top: 4px;
  border-top: 2px solid var(--bar); overflow-wrap: anywhere; }
small { color: var(--pale); font-weight: 400; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 16px 20px; margin: 0 0 16px; }
.two { display: grid; gap: 0 16px; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; }
dt { color: var(--pale); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 16px 3px 0; text-align: right; font-weight: 400; }
th[scope=row], thead th:first-child { text-align: left; }
thead th { color: var(--pale); border-bottom: 1px solid var(--line); }
svg { width: 100%; height: auto; display: block; }
svg.share { width: 160px; height: 12px; border-radius: 3px; }
.bar { fill: var(--bar); }
.rest { fill: var(--rest); }
.grid { stroke: var(--line); }
.tick, .axis { fill: var(--pale); font-size: 12px; }
pre { margin: 4px 0 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, monospace; }
mark { background: var(--mark); color: var(--mark-ink); border-bottom: 2px solid currentColor; }
.special { color: var(--pale); }
.note { background: var(--note); border-radius: 8px; padding: 8px 20px; margin: 0 0 16px; }
summary { color: var(--pale); cursor: pointer; }
@media print { body { background: none; } section { break-inside: avoid; } }
"""
