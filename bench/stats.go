// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"golang.org/x/perf/benchmath"
)

// percentile returns the p-th percentile. If it falls between two values, it lies between them.
// Values needn't be sorted. Of none it's NaN.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := p / 100 * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// Estimate is a figure with its 95 % confidence interval, from a bootstrap over rounds.
type Estimate struct{ Value, Low, High float64 }

// resamples is how often a bootstrap draws.
const resamples = 2000

// bootstrap estimates a figure of n rounds. Rounds are drawn whole, so values that were measured
// side by side stay together. f gets the numbers of the drawn rounds.
func bootstrap(n int, seed uint64, f func(rounds []int) float64) Estimate {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	random := rand.New(rand.NewPCG(seed, 1))
	figures := make([]float64, resamples)
	drawn := make([]int, n)
	for i := range figures {
		for j := range drawn {
			drawn[j] = random.IntN(n)
		}
		figures[i] = f(drawn)
	}
	return Estimate{Value: f(all), Low: percentile(figures, 2.5), High: percentile(figures, 97.5)}
}

// ratioOf returns the first contestant's percentile divided by the second's.
func ratioOf(a, b []float64, p float64, seed uint64) Estimate {
	return bootstrap(len(a), seed, func(rounds []int) float64 {
		return percentile(at(a, rounds), p) / percentile(at(b, rounds), p)
	})
}

// pairedRatio returns the median of the rounds' own ratios.
func pairedRatio(a, b []float64, seed uint64) Estimate {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return bootstrap(len(a), seed, func(rounds []int) float64 { return percentile(at(ratios, rounds), 50) })
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

func at(values []float64, indexes []int) []float64 {
	picked := make([]float64, len(indexes))
	for i, index := range indexes {
		picked[i] = values[index]
	}
	return picked
}

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
