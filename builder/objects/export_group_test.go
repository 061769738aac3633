package objects

import (
	"slices"
	"testing"

	"github.com/kbuild/kbuild/builder/objects/travel"
)

// Groups are few, hold each object once, and nothing of a size that others would have to
// read in vain as long as there may be more.
func TestGroups(t *testing.T) {
	const all = unknownReader | 1
	both := func(r uint64) readers { return readers{r | all, r | all} }
	for name, test := range map[string]struct {
		of    []readers
		sizes []int64
		want  [][]int
	}{
		"none":         {},
		"one":          {[]readers{both(2)}, []int64{1}, [][]int{{0}}},
		"little":       {[]readers{both(2), both(4), both(6)}, []int64{10, 10, 10}, [][]int{{0, 1, 2}}},
		"much":         {[]readers{both(2), both(4), both(6)}, []int64{50 << 20, 60 << 20, 70 << 20}, [][]int{{2}, {0}, {1}}},
		"one little":   {[]readers{both(2), both(4), both(6)}, []int64{50 << 20, 60 << 20, 7}, [][]int{{2}, {0}, {1}}},
		"the same":     {[]readers{both(2), both(4), both(2)}, []int64{50 << 20, 60 << 20, 70 << 20}, [][]int{{0, 2}, {1}}},
		"as built":     {[]readers{both(2), {2 | all, 0}}, []int64{10, 10}, [][]int{{0}, {1}}},
		"no targets":   {[]readers{{unknownReader, unknownReader}, {unknownReader, 0}}, []int64{10, 10}, [][]int{{0}, {1}}},
		"as built, by": {[]readers{{2 | all, 0}, {4 | all, 0}}, []int64{50 << 20, 60 << 20}, [][]int{{0}, {1}}},
	} {
		t.Run(name, func(t *testing.T) {
			var objects []travel.Object
			var which []int
			for i, size := range test.sizes {
				objects, which = append(objects, travel.Object{Size: size}), append(which, i)
			}
			var got [][]int
			for _, g := range groupsOf(objects, test.of, which) {
				got = append(got, g.objects)
			}
			if !slices.EqualFunc(got, test.want, slices.Equal) {
				t.Errorf("groups %v, want %v", got, test.want)
			}
		})
	}
}

func TestGroupsOfMany(t *testing.T) {
	for _, size := range []int64{1, 1 << 30} {
		var objects []travel.Object
		var of []readers
		var which []int
		for i := range 5000 {
			r := readers{uint64(i) | unknownReader, uint64(i) | unknownReader}
			if i%2 == 0 {
				r.other = 0
			}
			objects, of, which = append(objects, travel.Object{Size: size}), append(of, r), append(which, i)
		}
		groups := groupsOf(objects, of, which)
		var seen []int
		for _, g := range groups {
			seen = append(seen, g.objects...)
			for _, i := range g.objects {
				if !of[i].of(g.readers) || (of[i].other == 0) != g.asBuilt() {
					t.Fatalf("object %d with readers %x is among those with %x", i, of[i], g.readers)
				}
			}
		}
		if slices.Sort(seen); !slices.Equal(seen, which) || len(groups) > mostGroups {
			t.Errorf("%d objects in %d groups", len(seen), len(groups))
		}
	}
}
