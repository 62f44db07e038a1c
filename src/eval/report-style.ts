/** The look of the HTML report: one column of text measure for words, full width for pictures. */

export const reportCss = `
:root{color-scheme:light dark;
--paper:#fcfcfb;--card:#fff;--ink:#1b1d20;--quiet:#6b7078;--rule:#e4e5e3;--grid:#ecedeb;
--main:#2563c9;--other:#8d96a3;--control:#d0a03a;--right:#1a7f4b;--wrong:#c0392b;--tint:#f3f5f9;--mark:#ff3d7f}
@media(prefers-color-scheme:dark){:root{
--paper:#14161a;--card:#1b1e23;--ink:#e8e9eb;--quiet:#969ca6;--rule:#2c3037;--grid:#262a31;
--main:#6ea8ff;--other:#7d8694;--control:#c9a04a;--right:#58c78d;--wrong:#f0796c;--tint:#20242b;--mark:#ff6d9e}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 Inter,ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-feature-settings:"tnum","cv11";-webkit-font-smoothing:antialiased}
main{max-width:1240px;margin:0 auto;padding:56px 32px 96px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.02em;margin:0 0 12px;font-weight:650}
h2{font-size:20px;letter-spacing:-.01em;margin:0 0 16px;font-weight:620}
h3{font-size:14px;margin:28px 0 8px;font-weight:600}
section{margin-top:52px}
.top p{margin:4px 0}
code,.turn p,.id{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
code{font-size:13px;background:var(--tint);padding:2px 7px;border-radius:5px}
.quiet{color:var(--quiet);max-width:70ch;margin:0 0 14px}
.store{position:absolute}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:14px;min-width:min(100%,620px)}
th{font-weight:500;color:var(--quiet);font-size:12.5px}
th,td{padding:7px 18px 7px 0;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
th:first-child,td:first-child,th.text,td.text{text-align:left}
h3+.scroll th:nth-child(2),h3+.scroll td:nth-child(2){text-align:right}
h3+.scroll th.text,h3+.scroll td.text{text-align:left}.scroll+.quiet{margin-top:14px}
tr.main td:first-child{color:var(--main);font-weight:600}
.found{font-size:17px;line-height:1.5;max-width:70ch;margin:0 0 20px}
.chart{max-width:860px;margin:0 0 20px}
.chart .row{display:grid;grid-template-columns:minmax(90px,max-content) 1fr 62px;grid-template-areas:"label track value";gap:0 12px;align-items:center;padding:4px 0;font-size:13.5px}
.chart .label{grid-area:label;width:9.5em;text-align:right;overflow-wrap:anywhere}.chart .value{grid-area:value;text-align:right;white-space:nowrap}
.chart .track{grid-area:track;position:relative;display:block;height:16px;background:linear-gradient(90deg,var(--grid) 1px,transparent 1px) 0 0/25% 100%,var(--tint);border-radius:3px;overflow:hidden}
.chart .track i{position:absolute;display:block}
.chart .main .label,.chart .main .value{font-weight:650}
.bar{inset:1px auto 1px 0;min-width:1px;background:var(--other);border-radius:3px}.main .bar{background:var(--main)}.control .bar{background:var(--control);opacity:.75}
.whisker{top:4px;bottom:4px;background:linear-gradient(var(--ink),var(--ink)) 0 50%/100% 1.5px no-repeat;border:solid var(--ink);border-width:0 1.5px;opacity:.75}
.chart .scale .track{display:flex;justify-content:space-between;height:auto;background:none;overflow:visible;color:var(--quiet);font-size:11px}
.chart .scale::before{content:"";grid-area:label;width:9.5em}
.arms{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;font-size:13.5px;margin:0 0 20px;max-width:860px}
.arms dt{font-weight:600}.arms dt.main{color:var(--main)}.arms dt.control{color:var(--control)}.arms dd{margin:0;color:var(--quiet)}
.alarms{margin:0 0 18px;padding-left:20px;color:var(--wrong);max-width:80ch}
.tree{margin:0 0 22px;padding:4px;background:#fff;border:1px solid var(--rule);border-radius:8px}.tree svg{display:block;max-width:none}
.curve .tick{fill:var(--quiet);font-size:11px}
.grid{stroke:var(--grid);stroke-width:1}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:20px 28px}
.curve{margin:0}.curve svg{width:100%;height:auto}
.curve figcaption{font-size:13px;margin-bottom:2px}.curve figcaption span{color:var(--quiet)}
.raw,.smooth{fill:none;stroke:var(--s);stroke-linejoin:round}
.s0{--s:var(--main)}.s1{--s:#d0803a}.s2{--s:#1a9f7b}.s3{--s:#a35bd0}.s4{--s:#8d96a3}.s5{--s:#c0496b}
.legend{display:inline-flex;flex-wrap:wrap;gap:0 10px}.series::before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;background:var(--s);vertical-align:middle;margin-right:5px}
.raw{opacity:.28;stroke-width:1}.smooth{stroke-width:2}
.chips{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 24px;position:sticky;top:0;padding:12px 0;background:var(--paper);z-index:2}
.chip span{display:block;padding:4px 13px;border-radius:99px;border:1px solid var(--rule);font-size:13px;cursor:pointer;color:var(--quiet);user-select:none}
.chip input{position:absolute;opacity:0;pointer-events:none}
.chip input:checked+span{border-color:currentColor;color:var(--ink)}
.chip.main input:checked+span{color:var(--main)}
.chip input:focus-visible+span{outline:2px solid var(--main);outline-offset:2px}
.question{margin-top:40px;padding-top:20px;border-top:1px solid var(--rule)}
.question>header{display:grid;grid-template-columns:auto 1fr;gap:0 12px;margin-bottom:14px}
.question .number{grid-row:span 2;font-size:13px;color:var(--quiet);padding-top:3px;min-width:1.6em}
.question h3{margin:0;font-size:16px}
.question header p{margin:2px 0 0;color:var(--quiet);font-size:13.5px}.question header p b{color:var(--ink)}
.id{font-size:11.5px;margin-left:8px;overflow-wrap:anywhere}
.group{margin:36px 0 -14px;font-size:16px}.group span{color:var(--quiet);font-weight:400}
.shot .open{display:block;cursor:zoom-in}.shot .close{display:none}
.shot:target{position:fixed;inset:0;z-index:9;background:rgb(0 0 0/.86);display:grid;place-items:center;padding:2vmin}
.shot:target .open{width:min(96vw,92vh);cursor:default}.shot:target .picture{max-height:92vh}
.shot:target .close{display:block;position:absolute;top:8px;right:16px;color:#fff;font-size:34px;line-height:1;text-decoration:none}
.panels{display:flex;gap:16px;overflow-x:auto;padding:2px 2px 14px;scroll-snap-type:x proximity;align-items:flex-start}
.panel{flex:0 0 282px;background:var(--card);border:1px solid var(--rule);border-radius:10px;overflow:hidden;scroll-snap-align:start}
.panel>header{display:flex;justify-content:space-between;gap:8px;padding:9px 12px;font-size:13px}
.panel .name{font-weight:600;white-space:nowrap}.panel .name.main{color:var(--main)}.panel .name.control{color:var(--control)}
.verdict{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.verdict.right{color:var(--right)}.verdict.wrong{color:var(--wrong)}.verdict.partly{color:var(--control)}
.picture{display:block;width:100%;height:auto;background:var(--tint)}
.use{fill:none;stroke:var(--mark)}.use.dot{fill:var(--mark)}.truth{fill:none;stroke:#19c37d}
.answer{fill:#19c37d;stroke:#fff;stroke-width:.8}
.path{fill:none;stroke:var(--mark);opacity:.7}
.marker circle{fill:var(--mark);stroke:#fff;stroke-width:.6}
.marker text{fill:#fff;font-weight:700;text-anchor:middle}
.crops{display:flex;gap:8px;padding:10px 12px 0;flex-wrap:wrap}
.crops figure{margin:0;width:80px}.crops svg,.crops .missing{display:block;width:80px;height:80px;border-radius:6px;background:#000}
.crops figcaption{font-size:11px;color:var(--quiet);text-align:center;margin-top:2px}
.missing{color:var(--quiet);font-size:12px;display:grid!important;place-items:center;padding:8px;margin:0}
.turns{padding:10px 12px 4px}
.turn{margin:0 0 9px;padding-left:10px;border-left:2px solid var(--rule)}
.turn.model{border-color:var(--main)}.turn.environment{border-color:var(--mark)}.turn.forced{border-color:var(--control)}
.turn p{margin:0;font-size:11.5px;line-height:1.5;white-space:pre-wrap;overflow-wrap:anywhere}
.author,.turn summary{font-size:10.5px;color:var(--quiet);letter-spacing:.02em}
.turn summary{cursor:pointer}
.tag{color:var(--quiet);opacity:.75}.point{color:var(--mark);font-weight:600}
.panel footer{display:flex;flex-wrap:wrap;gap:4px 10px;padding:8px 12px 10px;border-top:1px solid var(--rule);font-size:11.5px;color:var(--quiet)}
.panel footer b{color:var(--ink);font-weight:600}.panel footer em{color:var(--wrong);font-style:normal}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:4px 24px;font-size:13.5px;margin:0}
.facts dt{color:var(--quiet)}.facts dd{margin:0;overflow-wrap:anywhere}
@media(max-width:700px){.chart .row{grid-template-columns:1fr max-content;grid-template-areas:"label value" "track track";gap:2px 12px;padding:7px 0}.chart .label{width:auto;text-align:left}.chart .scale::before{display:none}
.arms,.facts{grid-template-columns:1fr}.arms dd,.facts dd{margin:0 0 6px}
main{padding:32px 18px 64px}h1{font-size:24px}}
@media print{.chips{display:none}.panels{flex-wrap:wrap;overflow:visible}.panel,.question{break-inside:avoid}}
@media(max-width:560px){table{font-size:12px;min-width:0}th{font-size:11px}th,td{padding:6px 7px 6px 0;white-space:normal}td b{white-space:nowrap}}
`;
