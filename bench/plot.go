// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is a plot to be drawn. Without draw, there is nothing to show.
type figure struct {
	title  string
	height vg.Length // 0: a usual plot's
	draw   func(*plot.Plot) error
}

// figures are those of all sections that have something to show.
func figures(sections []section) (list []figure) {
	for _, s := range sections {
		for _, f := range s.plots {
			if f.draw != nil {
				list = append(list, f)
			}
		}
	}
	return list
}

// file is a name for the plot's file: its title up to the first punctuation.
func (f figure) file() string {
	title, _, _ := strings.Cut(f.title, " (")
	title, _, _ = strings.Cut(title, ";")
	name := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			return c
		case c == ' ':
			return '-'
		}
		return -1
	}, strings.ToLower(title))
	return name + ".svg"
}

// write writes the plot as a file of its own.
func (f figure) write(w io.Writer) error {
	svg, err := f.svg()
	if err != nil {
		return fmt.Errorf("plot %q: %w", f.title, err)
	}
	_, err = io.WriteString(w, svg+"\n")
	return err
}

// svg draws into an <svg> element.
func (f figure) svg() (string, error) {
	p := plot.New()
	for _, text := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		text.Typeface, text.Variant, text.Size = "Liberation", "Sans", 11
	}
	p.Legend.Top, p.Legend.XOffs, p.Legend.Padding = true, -4, 2
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gray(0xe4), gray(0xe4)
	p.Add(grid)
	if err := f.draw(p); err != nil {
		return "", err
	}
	height := f.height
	if height == 0 {
		height = 320
	}
	canvas := vgsvg.NewWith(vgsvg.UseWH(560, height))
	p.Draw(draw.New(canvas))
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return "", err
	}
	_, element, found := strings.Cut(text.String(), "<svg")
	if !found {
		return "", fmt.Errorf("no <svg> in %d bytes", text.Len())
	}
	return "<svg" + element, nil
}

func gray(level uint8) color.Color { return color.RGBA{level, level, level, 255} }

// lineOf is the style of a contestant's line, the same in every plot.
func lineOf(name string) draw.LineStyle {
	others := []color.Color{color.RGBA{0x7b, 0x3f, 0xa0, 255}, color.RGBA{0x00, 0x80, 0x80, 255}, color.RGBA{0x8a, 0x6d, 0x1b, 255}}
	style := draw.LineStyle{Width: 1.8, Color: others[len(name)%len(others)]}
	switch name {
	case swiftcni, "B":
		style.Color, style.Width = color.RGBA{0x0b, 0x5c, 0xd5, 255}, 2.6
	case floor:
		style.Color = gray(0x22)
	case reference, "A":
		style.Color = color.RGBA{0xf0, 0xa0, 0x30, 255}
	case referenceIPTables:
		style.Color = color.RGBA{0xdd, 0x66, 0x22, 255}
	case referenceNFTables:
		style.Color = color.RGBA{0xb0, 0x1c, 0x1c, 255}
	case emptyC:
		style.Color, style.Dashes = gray(0x88), []vg.Length{2, 2}
	case emptyGo:
		style.Color, style.Dashes = gray(0x88), []vg.Length{5, 2}
	case idle:
		style.Color, style.Dashes = color.RGBA{0x0b, 0x5c, 0xd5, 255}, []vg.Length{5, 2}
	}
	return style
}

// logScale makes an axis logarithmic, with ticks at 1, 2 and 5.
func logScale(a *plot.Axis, low, high float64) {
	a.Scale = plot.LogScale{}
	a.Min, a.Max = low, high
	var ticks plot.ConstantTicks
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
		for _, by := range []float64{1, 2, 5} {
			if v := by * decade; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%g", v)})
			}
		}
	}
	a.Tick.Marker = ticks
}

// linearTicks returns some four ticks from 0 on, at round numbers.
func linearTicks(end float64) (ticks plot.ConstantTicks) {
	step := math.Pow(10, math.Floor(math.Log10(end))-1)
	for _, by := range []float64{2, 2.5, 2, 2} { // to 2, 5, 10 and 20 times that
		if end/step > 6 {
			step *= by
		}
	}
	for i := 0; float64(i)*step <= end; i++ {
		ticks = append(ticks, plot.Tick{Value: float64(i) * step, Label: fmt.Sprintf("%.4g", float64(i)*step)})
	}
	return ticks
}

// ecdf plots the part of the samples that took at most so long.
func ecdf(verb string, list []*Series) figure {
	if len(list) == 0 {
		return figure{}
	}
	return figure{title: verb + ": part of the runs that took at most so long", draw: func(p *plot.Plot) error {
		p.X.Label.Text = "ms"
		low, high := math.Inf(1), 0.0
		for _, s := range list {
			times := slices.Sorted(slices.Values(s.times()))
			points := make(plotter.XYs, len(times))
			for i, t := range times {
				points[i] = plotter.XY{X: t / 1e3, Y: float64(i+1) / float64(len(times))}
			}
			low, high = min(low, points[0].X), max(high, points[len(points)-1].X)
			line, err := plotter.NewLine(points)
			if err != nil {
				return err
			}
			line.LineStyle, line.StepStyle = lineOf(s.Contestant), plotter.PostStep
			p.Add(line)
			p.Legend.Add(s.Contestant, line)
		}
		// The legend stands below the last lines.
		p.Legend.Top = false
		logScale(&p.X, low*0.9, high*math.Pow(high/low, 0.35))
		p.Y.Min, p.Y.Max = 0, 1
		return nil
	}}
}

func (r *Report) ecdf(verb string) figure { return ecdf(verb, verbOnly(r.of("attach"), verb)) }

// levelPlot plots a figure of each contestant and verb over the levels of the axis, which stand
// side by side.
func levelPlot(title, x, y string, list []*Series, log bool, f func(*Series) Estimate) figure {
	if len(list) == 0 {
		return figure{}
	}
	return figure{title: title, draw: func(p *plot.Plot) error {
		p.X.Label.Text, p.Y.Label.Text = x, y
		p.Legend.Left = true
		low, high := math.Inf(1), 0.0
		levels := distinct(list, func(s *Series) int { return s.At })
		names := distinct(list, func(s *Series) Key { return Key{Contestant: s.Contestant, Verb: s.Verb} })
		for _, name := range names {
			points, err := levelLine(p, list, levels, name, f)
			if err != nil {
				return err
			}
			for _, point := range points {
				// An interval of few rounds can be so wide that it would hide all others, so it's
				// cut.
				low, high = min(low, point.Value), max(high, point.Value*1.3)
			}
		}
		var ticks plot.ConstantTicks
		for i, level := range levels {
			ticks = append(ticks, plot.Tick{Value: float64(i), Label: fmt.Sprint(level)})
		}
		p.X.Tick.Marker, p.X.Min, p.X.Max = ticks, -0.1, float64(len(levels))-0.9
		if !log {
			p.Y.Min, p.Y.Max = 0, high*(1.05+0.075*float64(len(names)))
			p.Y.Tick.Marker = linearTicks(p.Y.Max)
			return nil
		}
		logScale(&p.Y, low*0.8, high*math.Pow(high/low, 0.1+0.07*float64(len(names))))
		return nil
	}}
}

// levelLine adds a line with its confidence intervals.
func levelLine(p *plot.Plot, list []*Series, levels []int, name Key, f func(*Series) Estimate) ([]Estimate, error) {
	var points plotter.XYs
	var estimates []Estimate
	var errors plotter.YErrors
	for _, s := range list {
		if s.Contestant == name.Contestant && s.Verb == name.Verb && (len(s.Samples) > 0 || len(s.Spans) > 0) {
			e := f(s)
			estimates, points = append(estimates, e), append(points, plotter.XY{X: float64(slices.Index(levels, s.At)), Y: e.Value})
			errors = append(errors, struct{ Low, High float64 }{e.Value - e.Low, e.High - e.Value})
		}
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return nil, err
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{points, errors})
	if err != nil {
		return nil, err
	}
	line.LineStyle = lineOf(name.Contestant)
	if name.Verb == verbDel {
		line.Dashes = []vg.Length{6, 3}
	}
	bars.LineStyle = draw.LineStyle{Color: line.Color, Width: 1}
	dots.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: 2.5, Shape: draw.CircleGlyph{}}
	p.Add(line, dots, bars)
	p.Legend.Add(strings.TrimSpace(name.Contestant+" "+label(&Series{Key: name})), line)
	return estimates, nil
}
