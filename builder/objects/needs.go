package objects

import "github.com/kbuild/kbuild/builder/objects/travel"

// Empty reports whether nothing is kept in the state from an earlier run.
func (s *State) Empty() bool { return s.held == nil }

// Needs returns how many bytes of packs [State.Import] would read.
func (s *State) Needs(t *travel.Table, o ImportOptions) (bytes int64, err error) {
	want, err := s.wanted(t, o)
	if err != nil {
		return 0, err
	}
	u, first := newUnpacker(t, want, ""), 0
	for i := range t.Packs {
		n := len(t.Packs[i].Chunks)
		if u.wantedChunks(first, n) > 0 {
			bytes += t.Packs[i].Layer.Size
		}
		first += n
	}
	return bytes, nil
}
