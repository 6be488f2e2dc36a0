// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"
)

// Point is a summary of one run of attach. Ratios and counts can be compared with an earlier run's,
// and times only on one machine.
type Point struct {
	Date               time.Time
	Commit             string
	AddMicros          float64
	IPTables, NFTables float64 // ratios of the reference's time; 0 if not measured
	Syscalls           int     // without the scheduler's
	Faults, RSS        int
	Bytes              int64 // of the binary
}

// longestTrend is how many points a report keeps.
const longestTrend = 40

// point is this run's. ok is false if it hasn't measured attach.
func (r *Report) point() (p Point, ok bool) {
	s := r.find(Key{Experiment: "attach", Contestant: swiftcni, Verb: verbAdd})
	if s == nil || len(s.Samples) == 0 {
		return p, false
	}
	n := r.Counts[swiftcni][verbAdd]
	p = Point{Date: r.Date, Commit: r.Commit, AddMicros: math.Round(s.median().Value), Syscalls: n.Own, Faults: n.Faults, RSS: n.RSS}
	for _, ratio := range r.Ratios {
		switch value := math.Round(ratio.Paired.Value*100) / 100; {
		case ratio.Verb != verbAdd:
		case ratio.What == referenceIPTables+" / "+swiftcni:
			p.IPTables = value
		case ratio.What == referenceNFTables+" / "+swiftcni:
			p.NFTables = value
		}
	}
	for _, f := range r.Footprints {
		if f.Contestant == swiftcni {
			p.Bytes = f.File
		}
	}
	return p, true
}

// follow takes over the trend of the report that this one replaces, and adds this run's point.
func (r *Report) follow(earlier string) error {
	text, err := os.ReadFile(earlier)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		var before struct{ Trend []Point }
		if err := json.Unmarshal(text, &before); err != nil {
			return fmt.Errorf("%s: %w", earlier, err)
		}
		r.Trend = before.Trend
	}
	if p, ok := r.point(); ok {
		r.Trend = append(r.Trend, p)
	}
	if n := len(r.Trend); n > longestTrend {
		r.Trend = r.Trend[n-longestTrend:]
	}
	return nil
}

func (r *Report) showTrend() section {
	s := section{title: "From run to run", text: "Earlier reports that this one has replaced. Counts and ratios can be compared, times on one machine."}
	t := table{head: []string{"", "commit", "ADD ms", "reference, iptables / ours", "reference, nftables / ours", "syscalls", "faults", "peak KiB", "bytes"}}
	for _, p := range r.Trend {
		t.add(p.Date.Format("2006-01-02 15:04"), p.Commit, millis(p.AddMicros), p.IPTables, p.NFTables, p.Syscalls, p.Faults, p.RSS, p.Bytes)
	}
	s.tables = []table{t}
	if len(r.Trend) > 1 {
		s.plots = []figure{r.trendPlot()}
	}
	return s
}

func (r *Report) trendPlot() figure {
	return figure{title: "How many times longer the reference's ADD takes, from run to run", draw: func(p *plot.Plot) error {
		p.X.Label.Text, p.Y.Label.Text, p.Y.Min = "run", "times", 0
		for _, ratio := range []struct {
			name string
			of   func(Point) float64
		}{{referenceIPTables, func(p Point) float64 { return p.IPTables }}, {referenceNFTables, func(p Point) float64 { return p.NFTables }}} {
			var points plotter.XYs
			for i, p := range r.Trend {
				if value := ratio.of(p); value > 0 {
					points = append(points, plotter.XY{X: float64(i + 1), Y: value})
				}
			}
			if len(points) == 0 {
				continue
			}
			line, dots, err := plotter.NewLinePoints(points)
			if err != nil {
				return err
			}
			line.LineStyle = lineOf(ratio.name)
			dots.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: 2.5, Shape: draw.CircleGlyph{}}
			p.Add(line, dots)
			p.Legend.Add(ratio.name, line)
			p.Y.Max = max(p.Y.Max, points[len(points)-1].Y*1.4)
		}
		return nil
	}}
}
