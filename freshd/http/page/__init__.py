"""The page at `/`: what `Control.dashboard` tells, as HTML that needs nothing else.

    Dashboard ─▶ source, chart, comparison, changes, summary ─▶ document ─▶ route
                 (pieces, pure)                                 (whole)     (asked for)

Every piece is a function from the shapes of the outside contract to a piece of HTML; `markup` escapes.
`page.css` and `page.js` stand inside the document, admitted by their hashes alone.
"""
