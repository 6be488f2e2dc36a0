// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// bar is a horizontal bar from one value to another one.
type bar struct {
	from, to float64
	color    color.Color
	label    string // beside its end
}

// drawBars draws rows of bars, the first row at the top.
func drawBars(p *plot.Plot, names []string, rows [][]bar) error {
	end := 0.0
	for i, row := range rows {
		y := float64(len(rows) - 1 - i)
		for _, b := range row {
			box, err := plotter.NewPolygon(plotter.XYs{{X: b.from, Y: y - 0.36}, {X: b.to, Y: y - 0.36}, {X: b.to, Y: y + 0.36}, {X: b.from, Y: y + 0.36}})
			if err != nil {
				return err
			}
			box.Color, box.LineStyle.Width = b.color, 0
			p.Add(box)
			end = max(end, b.to)
		}
		last := row[len(row)-1]
		label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: last.to, Y: y}}, Labels: []string{last.label}})
		if err != nil {
			return err
		}
		label.TextStyle[0].Font = p.X.Tick.Label.Font
		label.TextStyle[0].YAlign, label.Offset = -0.4, vg.Point{X: 4}
		p.Add(label)
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, end*1.17, -0.6, float64(len(rows))-0.4
	p.X.Tick.Marker = linearTicks(p.X.Max)
	var ticks plot.ConstantTicks
	for i, name := range names {
		ticks = append(ticks, plot.Tick{Value: float64(len(names) - 1 - i), Label: name})
	}
	p.Y.Tick.Marker, p.Y.Tick.Length = ticks, 0
	return nil
}

func barsHeight(rows int) vg.Length { return vg.Length(60 + 19*rows) }

// light is a paler shade.
func light(c color.Color) color.Color {
	r, g, b, _ := c.RGBA()
	pale := func(v uint32) uint8 { return uint8((v>>8 + 2*255) / 3) }
	return color.RGBA{pale(r), pale(g), pale(b), 255}
}

// waterfallPlot shows each step from its beginning to its end. The time in the kernel's calls is in
// full colour.
func (r *Report) waterfallPlot(level int) figure {
	var steps []Step
	for _, s := range r.Steps {
		if s.At == level {
			steps = append(steps, s)
		}
	}
	title := fmt.Sprintf("One ADD by step, with %d attached; full colour: in calls that were watched", level)
	return figure{title: title, height: barsHeight(len(steps)), draw: func(p *plot.Plot) error {
		var names []string
		var rows [][]bar
		for _, s := range steps {
			c := lineOf(s.Contestant).Color
			names = append(names, s.Contestant+": "+s.Name)
			kernel := s.Start + min(s.Kernel, s.Micros)
			rows = append(rows, []bar{{from: s.Start, to: kernel, color: c},
				{from: kernel, to: s.Start + s.Micros, color: light(c), label: whole(s.Micros)}})
		}
		p.X.Label.Text = "µs"
		return drawBars(p, names, rows)
	}}
}

// callsPlot shows how many system calls each contestant makes.
func (r *Report) callsPlot() figure {
	var names []string
	var rows [][]bar
	for _, verb := range []string{verbAdd, verbDel} {
		for _, c := range r.contestants("attach") {
			n, ok := r.Counts[c.Name][verb]
			if !ok {
				continue
			}
			shade := lineOf(c.Name).Color
			names = append(names, c.Name+" "+label(&Series{Key: Key{Contestant: c.Name, Verb: verb}}))
			rows = append(rows, []bar{{to: float64(n.Own), color: shade},
				{from: float64(n.Own), to: float64(n.Syscalls), color: light(shade), label: fmt.Sprint(n.Syscalls)}})
		}
	}
	if rows == nil {
		return figure{}
	}
	return figure{title: "System calls; pale: those of Go's scheduler", height: barsHeight(len(rows)), draw: func(p *plot.Plot) error {
		return drawBars(p, names, rows)
	}}
}

// callsByName shows the system calls that an ADD of swiftcni makes beyond an empty Go program, and
// how many of each the floor makes.
func (r *Report) callsByName() figure {
	ours, empty, c := r.Counts[swiftcni][verbAdd].Calls, r.Counts[emptyGo][verbAdd].Calls, r.Counts[floor][verbAdd].Calls
	var names []string
	for name, n := range ours {
		if n > empty[name] && !isScheduler(name) || c[name] > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return figure{}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(ours[b]-empty[b], ours[a]-empty[a]), cmp.Compare(a, b))
	})
	var rows [][]bar
	for _, name := range names {
		own, theirs := max(ours[name]-empty[name], 0), c[name]
		label := fmt.Sprintf("%d, floor %d", own, theirs)
		blue, black := lineOf(swiftcni).Color, lineOf(floor).Color
		// The shorter bar is drawn over the longer one.
		if own > theirs {
			rows = append(rows, []bar{{to: float64(theirs), color: black}, {from: float64(theirs), to: float64(own), color: blue, label: label}})
		} else {
			rows = append(rows, []bar{{to: float64(own), color: black}, {from: float64(own), to: float64(theirs), color: light(black), label: label}})
		}
	}
	return figure{title: "Calls of swiftcni's ADD beyond an empty Go program's (blue), and the floor's (black)", height: barsHeight(len(rows)),
		draw: func(p *plot.Plot) error {
			p.X.Label.Text = "calls"
			if err := drawBars(p, names, rows); err != nil {
				return err
			}
			p.X.Max *= 1.15
			return nil
		}}
}
