// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"fmt"
	"html"
	"io"
)

//go:embed report.css
var style string

// html writes one page that needs no other file. Its plots are SVG elements.
func (r *Report) html(w io.Writer, sections []section) error {
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>swiftcni: benchmarks</title>\n<style>\n%s</style>\n"+
		"</head>\n<body>\n<h1>swiftcni: benchmarks</h1>\n<p>%s</p>\n<p>%s</p>\n<p>To repeat it: <code>%s</code></p>\n",
		style, html.EscapeString(r.head()), html.EscapeString(r.Method), html.EscapeString(r.again()))
	for _, s := range sections {
		fmt.Fprintf(w, "<h2>%s</h2>\n<p>%s</p>\n<div class=\"plots\">\n", html.EscapeString(s.title), html.EscapeString(s.text))
		for _, f := range figures([]section{s}) {
			svg, err := f.svg()
			if err != nil {
				return fmt.Errorf("plot %q: %w", f.title, err)
			}
			fmt.Fprintf(w, "<figure>%s<figcaption>%s</figcaption></figure>\n", svg, html.EscapeString(f.title))
		}
		fmt.Fprintln(w, "</div>")
		for _, t := range s.tables {
			if len(t.rows) > 0 {
				t.html(w)
			}
		}
	}
	_, err := fmt.Fprintln(w, "</body>\n</html>")
	return err
}
