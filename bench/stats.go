// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"

	"github.com/swiftcni/swiftcni/internal/stats"
	"golang.org/x/perf/benchmath"
)

func percentile(values []float64, p float64) float64 { return stats.Percentile(values, p) }

// Estimate is a figure with its 95 % confidence interval.
type Estimate stats.Estimate

func bootstrap(n int, seed uint64, f func(rounds []int) float64) Estimate {
	return Estimate(stats.Bootstrap(n, seed, f))
}

// ratioOf returns the first contestant's percentile divided by the second's.
func ratioOf(a, b []float64, p float64, seed uint64) Estimate {
	return bootstrap(len(a), seed, func(rounds []int) float64 {
		return percentile(at(a, rounds), p) / percentile(at(b, rounds), p)
	})
}

func pairedRatio(a, b []float64, seed uint64) Estimate {
	return Estimate(stats.PairedRatio(a, b, seed))
}

// netRatio compares two contestants, each less an empty process of its kind in the same round.
func netRatio(a, emptyA, b, emptyB []float64, seed uint64) Estimate {
	netA, netB := make([]float64, len(a)), make([]float64, len(a))
	for i := range a {
		netA[i], netB[i] = a[i]-emptyA[i], b[i]-emptyB[i]
	}
	return bootstrap(len(a), seed, func(rounds []int) float64 {
		return percentile(at(netA, rounds), 50) / percentile(at(netB, rounds), 50)
	})
}

func at(values []float64, rounds []int) []float64 { return stats.At(values, rounds) }

// median returns a series' median with its 95 % confidence interval, which order statistics give
// without assuming a distribution.
func (s *Series) median() Estimate {
	if len(s.Samples) == 0 {
		return exactly(math.NaN())
	}
	found := benchmath.AssumeNothing.Summary(benchmath.NewSample(s.times(), &benchmath.DefaultThresholds), 0.95)
	e := Estimate{Value: found.Center, Low: found.Lo, High: found.Hi}
	// There are too few samples for an interval, so it holds all of them.
	if math.IsInf(e.Low, 0) || math.IsInf(e.High, 0) {
		e.Low, e.High = slices.Min(s.times()), slices.Max(s.times())
	}
	return e
}

// exactly is a figure without an interval.
func exactly(value float64) Estimate { return Estimate{value, value, value} }

func (e Estimate) scale(by float64) Estimate { return Estimate{e.Value * by, e.Low * by, e.High * by} }

// millis prints microseconds as milliseconds, with their interval.
func (e Estimate) millis() string {
	return millis(e.Value) + " (" + millis(e.Low) + "–" + millis(e.High) + ")"
}
