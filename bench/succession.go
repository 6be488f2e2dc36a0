// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
)

// inSuccession is how many attachments a contestant makes and ends without a pause.
const inSuccession = 10

// succession attaches and detaches one container after the other, with no pause between. It shows
// the cost of an ADD while the kernel still cleans up after the last DEL.
func (m *measurer) succession() error {
	for round := -m.WarmUp; round < m.Rounds; round++ {
		for _, i := range m.random.Perm(len(m.Contestants)) {
			if err := m.successionOf(m.Contestants[i], round); err != nil {
				return fmt.Errorf("%s: %w", m.Contestants[i].Name, err)
			}
		}
		m.progress.step(os.Stderr)
	}
	return nil
}

func (m *measurer) successionOf(c Contestant, round int) error {
	var containers [inSuccession]container
	for i := range containers {
		at, err := m.newContainer(c)
		if err != nil {
			return err
		}
		containers[i] = at
	}
	defer m.settle(containers[:]...)
	for _, at := range containers {
		for _, verb := range c.verbs() {
			s, err := m.sampleNow(c, at, verb)
			if err != nil {
				return err
			}
			m.record(0, round, c.Name, verb, s)
		}
	}
	return nil
}

func (r *Report) showSuccession() section {
	return section{title: "One after the other", text: fmt.Sprintf("ADD and DEL of %d containers without a pause, so that each ADD "+
		"but the first comes while the kernel still clears up behind a DEL.", inSuccession),
		tables: []table{r.timesTable("succession")}}
}
