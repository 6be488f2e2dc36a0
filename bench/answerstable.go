// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

const answersText = "And the other way round, with IPv4 and IPv6: the container is asked as soon as ADD's process has ended, by its host, " +
	"by a container of the same bridge, and by a router outside. Where a container asks the first one of a bridge, it's the second one, " +
	"which has just been attached itself. \"Another one with its address\" is attached right after the DEL of the container that the asker " +
	"knew, under whatever MAC the plugin gives it. A first packet is lost if it has no answer within half a second; asked again every 10 ms, " +
	"some have none within three."

// unanswered is the time of a question without an answer. It's longer than any other, and still a
// number to interpolate with.
const unanswered = 1e12

func (r *Report) answersTable() table {
	t := table{head: []string{"who's asked", "by", "", "", "asked", "first packet lost", "no answer", "answer after, p50", "p99", "since ADD began, p50", "p99"}}
	for _, s := range r.of("first") {
		what, by, ok := strings.Cut(s.Verb, askedBy)
		if s.Axis == "" || !ok {
			continue
		}
		lost := s.Failed
		var waited, since []float64
		for _, sample := range s.Samples {
			if sample.Lost {
				lost++
			}
			waited, since = append(waited, sample.Waited), append(since, sample.Micros)
		}
		waited, since = slices.Concat(waited, slices.Repeat([]float64{unanswered}, s.Failed)), slices.Concat(since, slices.Repeat([]float64{unanswered}, s.Failed))
		t.add(what, by, s.Axis, s.Contestant, len(waited), share(lost, len(waited)), share(s.Failed, len(waited)),
			answerAfter(waited, 50), answerAfter(waited, 99), answerAfter(since, 50), answerAfter(since, 99))
	}
	order := []string{firstOfBridge, laterOnes, sameAddress, askedByHost, askedByContainer, askedByOutside}
	slices.SortStableFunc(t.rows, func(a, b []string) int {
		place := func(row []string) int { return slices.Index(order, row[0])*len(order) + slices.Index(order, row[1]) }
		return place(a) - place(b)
	})
	t.sort(0, 1, 2)
	return t
}

func share(n, of int) string { return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(of)) }

func answerAfter(times []float64, p float64) string {
	after := percentile(times, p)
	if after > float64(hangs.Microseconds()) {
		return "none"
	}
	return millis(after)
}

// dualAddsTable shows the times of the ADDs before the answers.
func (r *Report) dualAddsTable() table {
	t := table{head: []string{"ms", "", "", "p50", "p90", "p99", "worst"}}
	for _, s := range r.of("first") {
		if s.Axis == bothFamilies {
			times := s.times()
			t.add(s.Verb, s.Axis, s.Contestant, millis(percentile(times, 50)), millis(percentile(times, 90)), millis(percentile(times, 99)),
				millis(percentile(times, 100)))
		}
	}
	return t
}
