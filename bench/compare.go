// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"

	"golang.org/x/perf/benchmath"
)

// verdict says whether B differs from A. Two tests must agree. The rounds' own ratios aren't
// affected by changes of the machine's speed. A rank test (Mann-Whitney) isn't affected by the
// distribution of times.
func verdict(a, b []float64, seed uint64) (Estimate, float64, string) {
	ratio := pairedRatio(b, a, seed)
	sample := func(times []float64) *benchmath.Sample {
		return benchmath.NewSample(slices.Clone(times), &benchmath.DefaultThresholds)
	}
	p := benchmath.AssumeNothing.Compare(sample(a), sample(b)).P
	change := max(ratio.High-1, 1-ratio.Low) * 100
	switch {
	case p < benchmath.DefaultThresholds.CompareAlpha && ratio.High < 1:
		return ratio, p, fmt.Sprintf("B takes %.1f %% less time", (1-ratio.Value)*100)
	case p < benchmath.DefaultThresholds.CompareAlpha && ratio.Low > 1:
		return ratio, p, fmt.Sprintf("B takes %.1f %% more time", (ratio.Value-1)*100)
	default:
		return ratio, p, fmt.Sprintf("no difference seen; one of more than %.1f %% is unlikely", change)
	}
}

func (r *Report) showCompare() section {
	s := section{title: "Two revisions", tables: []table{r.timesTable("compare"), r.countsTable("compare")}}
	for _, c := range r.contestants() {
		s.text += c.Name + " is " + c.Version + ". "
	}
	t := table{head: []string{"", "B / A, with 95 % confidence", "p", "verdict"}}
	for _, verb := range []string{verbAdd, verbDel} {
		a := r.times(Key{Experiment: "compare", Contestant: "A", Verb: verb})
		b := r.times(Key{Experiment: "compare", Contestant: "B", Verb: verb})
		ratio, p, text := verdict(a, b, r.Seed)
		t.add(verb, fmt.Sprintf("%.3f (%.3f–%.3f)", ratio.Value, ratio.Low, ratio.High), fmt.Sprintf("%.2g", p), text)
		s.plots = append(s.plots, ecdf(verb, verbOnly(r.of("compare"), verb)))
	}
	s.tables = append(s.tables, t)
	return s
}
