// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"
)

func TestPercentile(t *testing.T) {
	values := []float64{40, 10, 30, 20}
	for p, want := range map[float64]float64{0: 10, 50: 25, 90: 37, 100: 40} {
		if got := percentile(values, p); math.Abs(got-want) > 1e-9 {
			t.Errorf("percentile %v: %v, want %v", p, got, want)
		}
	}
	if values[0] != 40 {
		t.Error("the caller's values were sorted")
	}
	if got := percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("percentile of nothing: %v", got)
	}
}

func TestRatiosFindWhatWasPutIn(t *testing.T) {
	// Rounds differ tenfold, but in each one a takes three times b, and nothing else: pairing sees
	// that.
	var a, b, emptyA, emptyB []float64
	for i := range 50 {
		slow := 1 + float64(i*7%10)
		a, b = append(a, 3*slow), append(b, slow)
		emptyA, emptyB = append(emptyA, slow), append(emptyB, 0)
	}
	for _, c := range []struct {
		name string
		got  Estimate
		want float64
	}{
		{"paired", pairedRatio(a, b, 1), 3},
		{"net", netRatio(a, emptyA, b, emptyB, 1), 2},
		{"p50", ratioOf(a, b, 50, 1), 3},
	} {
		if math.Abs(c.got.Value-c.want) > 1e-9 || c.got.Low > c.want+1e-9 || c.got.High < c.want-1e-9 {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestBootstrapCoversWhatVaries(t *testing.T) {
	a, b := make([]float64, 40), make([]float64, 40)
	for i := range a {
		a[i], b[i] = 10+float64(i%8), 5
	}
	e := pairedRatio(a, b, 1)
	if !(e.Low < e.Value && e.Value < e.High) || e.High-e.Low > 1 {
		t.Errorf("estimate %v", e)
	}
	if again := pairedRatio(a, b, 1); again != e {
		t.Errorf("the same seed gives %v, then %v", e, again)
	}
}
