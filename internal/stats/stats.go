// SPDX-License-Identifier: Apache-2.0

// Package stats compares samples that were measured in rounds: all contestants in one round after
// the other, so that what disturbs the machine disturbs each of them.
package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Percentile returns the p-th percentile. If it falls between two values, it lies between them.
// Values needn't be sorted. Of none it's NaN.
func Percentile(values []float64, p float64) float64 {
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

// An Estimate is a figure with its 95 % confidence interval, from a bootstrap over rounds.
type Estimate struct{ Value, Low, High float64 }

// resamples is how often a bootstrap draws.
const resamples = 2000

// Bootstrap estimates a figure of n rounds. Rounds are drawn whole, so values that were measured
// side by side stay together. f gets the numbers of the drawn rounds.
func Bootstrap(n int, seed uint64, f func(rounds []int) float64) Estimate {
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
	return Estimate{Value: f(all), Low: Percentile(figures, 2.5), High: Percentile(figures, 97.5)}
}

// PairedRatio returns the median of the rounds' own ratios: how many times as long the first of two
// took.
func PairedRatio(a, b []float64, seed uint64) Estimate {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return Bootstrap(len(a), seed, func(rounds []int) float64 { return Percentile(At(ratios, rounds), 50) })
}

// At picks the values of some rounds.
func At(values []float64, rounds []int) []float64 {
	picked := make([]float64, len(rounds))
	for i, round := range rounds {
		picked[i] = values[round]
	}
	return picked
}
