// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// checkAnswers wants each question to have been asked in both families: of ours, and of the
// reference.
func checkAnswers(t *testing.T, r *Report) {
	t.Helper()
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, what := range []string{firstOfBridge, laterOnes, sameAddress} {
			for _, by := range []string{askedByHost, askedByContainer, askedByOutside} {
				for _, name := range []string{swiftcni, referenceNFTables} {
					if s := r.find(Key{Experiment: "first", Axis: family, Contestant: name, Verb: what + askedBy + by}); s == nil {
						t.Errorf("nobody asked %s of %s by %s from %s", what, name, family, by)
					}
				}
			}
		}
	}
	if s := r.find(Key{Experiment: "first", Axis: bothFamilies, Contestant: swiftcni, Verb: verbAdd}); s == nil || len(s.Samples) != 13 {
		t.Errorf("ADDs in both families: %+v, want 13", s)
	}
}

// A question without an answer counts as lost. It isn't left out of percentiles, and doesn't make
// them NaN.
func TestAnswersTable(t *testing.T) {
	key := Key{Experiment: "first", Axis: "IPv6", Contestant: swiftcni, Verb: sameAddress + askedBy + askedByHost}
	r := Report{results: results{Series: []*Series{{Key: key, Failed: 1, Samples: []Sample{
		{Micros: 3000, Waited: 1000}, {Micros: 3000, Waited: 1000}, {Micros: 903e3, Waited: 900e3, Lost: true}}}}}}
	table := r.answersTable()
	got := strings.Join(table.rows[0], " | ")
	if want := "another one with its address | the host | IPv6 | swiftcni | 4 | 50 % | 25 % | 450.50 | none | 453.00 | none"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(r.showFirst().tables[0].rows) != 0 {
		t.Error("the table of IPv4 alone has it too")
	}
}
