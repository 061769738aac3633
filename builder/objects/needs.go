package objects

import "github.com/kbuild/kbuild/builder/objects/travel"

// Empty reports whether nothing is kept in the state from an earlier run.
func (s *State) Empty() bool { return s.held == nil }

// Whole reports whether all that is kept is as the last command that came to its end
// left it. What was not in the state then is not part of it.
func (s *State) Whole() (bool, error) {
	if s.held == nil {
		return true, nil
	}
	v, err := s.held.compare(s.dir)
	return len(v.spoilt) == 0, err
}

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
