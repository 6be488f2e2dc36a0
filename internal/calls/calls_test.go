// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// TestMain gives the tests a /run of their own.
func TestMain(m *testing.M) { nstest.Main(m) }

func sample(t time.Time) Call {
	c := Call{Time: t, Verb: "ADD", Plugin: "bridge", Network: "mynet", ContainerID: "c1", IfName: "eth0",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	for i := range c.Steps {
		c.Steps[i] = time.Duration(i+1) * time.Microsecond
	}
	return c
}

// recorded makes the file and lets calls be written to it.
func recorded(t *testing.T, list ...Call) {
	t.Helper()
	t.Cleanup(func() { _ = Remove() })
	if err := Create(); err != nil {
		t.Fatal(err)
	}
	w, ok := Open()
	if !ok {
		t.Fatal("the file can't be opened")
	}
	for _, c := range list {
		w.Put(&c)
	}
}

func TestCallsComeBackInOrder(t *testing.T) {
	now := time.Unix(1700000000, 123456789)
	second := sample(now.Add(time.Millisecond))
	second.Verb, second.Code, second.Message = "DEL", 999, "no such thing: \n\x1b[2J"
	recorded(t, second, sample(now))
	list, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if want := []Call{sample(now), second}; !slices.Equal(list, want) {
		t.Errorf("got %+v\nwant %+v", list, want)
	}
	if took := list[0].Took(); took != 45*time.Microsecond {
		t.Errorf("took %v", took)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	c := sample(time.Unix(1700000000, 0))
	c.ContainerID, c.Network = strings.Repeat("c", 80), strings.Repeat("n", 65)
	c.Message = strings.Repeat("ö", 200) // cut within a letter
	recorded(t, c)
	list, err := Load()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	got := list[0]
	if got.ContainerID != c.ContainerID || got.Network != strings.Repeat("n", 61)+"…" {
		t.Errorf("%q %q", got.ContainerID, got.Network)
	}
	if !utf8.ValidString(got.Message) || !strings.HasSuffix(got.Message, "…") || len(got.Message) < 200 {
		t.Errorf("%q", got.Message)
	}
}

func TestOnlyTheUserMakesTheFile(t *testing.T) {
	if _, ok := Open(); ok {
		t.Error("Open made the file")
	}
	if _, err := Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	recorded(t, sample(time.Unix(1700000000, 0)))
	if err := Create(); err != nil { // again
		t.Fatal(err)
	}
	if list, err := Load(); len(list) != 1 {
		t.Error("a second Create threw the calls away:", list, err)
	}
	st, err := os.Stat(Path)
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() != 4<<20 {
		t.Error(st, err)
	}
	for range 2 {
		if err := Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the directory stays:", err)
	}
}

func TestStrangeDirectoriesAndFiles(t *testing.T) {
	elsewhere := t.TempDir() + "/elsewhere"
	for _, row := range []struct {
		name    string
		prepare func() error
	}{
		{"directory that others write to", func() error { return errors.Join(os.Mkdir(Dir, 0o700), os.Chmod(Dir, 0o777)) }},
		{"link to a directory", func() error { return errors.Join(os.Mkdir(elsewhere, 0o700), os.Symlink(elsewhere, Dir)) }},
		{"another's directory", func() error { return errors.Join(os.Mkdir(Dir, 0o700), os.Chown(Dir, 1, 1)) }},
		{"file", func() error { return os.WriteFile(Dir, nil, 0o600) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.name == "another's directory" {
				nstest.Full(t, "it needs a second user")
			}
			defer os.RemoveAll(Dir)
			if err := row.prepare(); err != nil {
				t.Fatal(err)
			}
			if err := Create(); err == nil {
				t.Error("Create took it")
			}
		})
	}
	t.Run("link in the file's place", func(t *testing.T) {
		defer os.RemoveAll(Dir)
		target := t.TempDir() + "/precious"
		if err := errors.Join(os.WriteFile(target, []byte("precious"), 0o600), os.Mkdir(Dir, 0o700), os.Symlink(target, Path)); err != nil {
			t.Fatal(err)
		}
		if w, ok := Open(); ok {
			c := sample(time.Now())
			w.Put(&c)
			t.Error("a link was followed")
		}
	})
}

// TestTornSlotsAreLeftOut cuts a slot at each byte: what follows is still an older call's.
func TestTornSlotsAreLeftOut(t *testing.T) {
	now := time.Unix(1700000000, 0)
	old, young := sample(now), sample(now)
	old.Verb, old.ContainerID, old.Message = "DEL", "former", strings.Repeat("m", 300)
	var before, after slot
	before.encode(&old)
	after.encode(&young)
	for at := range slotSize + 1 {
		torn := before
		copy(torn[:at], after[:at])
		var c Call
		if ok := torn.decode(&c); ok != (torn == before || torn == after) {
			t.Errorf("torn at %d: taken for %v", at, c)
		}
	}
}

func TestHostileFiles(t *testing.T) {
	good := make([]byte, (Slots+1)*slotSize)
	copy(good, head)
	c := sample(time.Unix(1700000000, 0))
	at := place(c.Time)
	(*slot)(good[at:]).encode(&c)
	for _, row := range []struct {
		name string
		make func() []byte
		want int
		err  error
	}{
		{"good", func() []byte { return good }, 1, nil},
		{"empty", func() []byte { return nil }, 0, ErrForm},
		{"shorter than its head", func() []byte { return good[:slotSize-1] }, 0, ErrForm},
		{"head alone", func() []byte { return good[:slotSize] }, 0, nil},
		{"cut within the slot", func() []byte { return good[:at+slotSize-1] }, 0, nil},
		{"cut behind the slot", func() []byte { return good[:at+slotSize] }, 1, nil},
		{"another form", func() []byte { return bytes.Replace(good, []byte("form 2"), []byte("form 1"), 1) }, 0, ErrForm},
		{"a call in every slot", func() []byte {
			b := bytes.Clone(good)
			for i := slotSize; i < len(b); i += slotSize {
				copy(b[i:], good[at:at+slotSize])
			}
			return b
		}, 1, nil},
		{"unknown verb", func() []byte {
			b := bytes.Clone(good)
			s := (*slot)(b[at:])
			s[verbAt] = 3
			resum(s)
			return b
		}, 0, nil},
	} {
		list, err := decode(row.make())
		if len(list) != row.want || !errors.Is(err, row.err) {
			t.Errorf("%s: %d calls, %v", row.name, len(list), err)
		}
	}
}

func resum(s *slot) {
	sum := s.sum()
	for i := range 8 {
		s[sumAt+i] = byte(sum >> (8 * i))
	}
}

// TestTheLastAreThere measures what the package's text promises of "the last".
func TestTheLastAreThere(t *testing.T) {
	const seed, last, rounds = 1, 120, 50
	r := rand.New(rand.NewPCG(seed, seed))
	now, missing := time.Unix(1700000000, 0), 0
	for range rounds {
		slots := map[int64]time.Time{}
		var all []time.Time
		for range 3 * Slots {
			now = now.Add(time.Duration(r.IntN(2_000_000)) * time.Nanosecond)
			slots[place(now)] = now
			all = append(all, now)
		}
		for _, t := range all[len(all)-last:] {
			if slots[place(t)] != t {
				missing++
			}
		}
	}
	if got, most := float64(missing)/rounds, 1.0; got > most {
		t.Errorf("%.2f of the last %d are missing, want at most %.0f", got, last, most)
	}
}

func TestPlacesAreWithinTheFile(t *testing.T) {
	for _, ns := range []int64{0, 1, -1, 1 << 62, -1 << 63, 1<<63 - 1} {
		if at := place(time.Unix(0, ns)); at < slotSize || at > Slots*slotSize || at%slotSize != 0 {
			t.Errorf("%d: %d", ns, at)
		}
	}
}

// FuzzSlot reads any bytes, with a sum that's right, as a call: it's written again as it was read.
func FuzzSlot(f *testing.F) {
	var s slot
	c := sample(time.Unix(1700000000, 0))
	s.encode(&c)
	f.Add(s[:])
	c.Code, c.Message = 7, strings.Repeat("é", 200)
	s.encode(&c)
	f.Add(s[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again slot
		copy(s[:], b)
		resum(&s)
		var c, c2 Call
		if !s.decode(&c) {
			return
		}
		again.encode(&c)
		if !again.decode(&c2) || c2 != c {
			t.Errorf("%+v\nbecame %+v", c, c2)
		}
	})
}

func TestPutAllocatesLittle(t *testing.T) {
	recorded(t)
	w, _ := Open()
	c := sample(time.Unix(1700000000, 0))
	if n := testing.AllocsPerRun(100, func() { w.Put(&c) }); n > 1 { // one only with the race detector
		t.Errorf("%v allocations", n)
	}
}

func TestNoFileAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := Open(); ok {
			t.Error("there is a file")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
