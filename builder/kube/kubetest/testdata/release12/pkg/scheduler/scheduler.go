// Package scheduler chooses nodes.
package scheduler

// Pick returns the node that carries the fewest pods, the first of several by
// name, and "" if there is none.
func Pick(pods map[string]int) string {
	best := ""
	for node, n := range pods {
		if best == "" || n < pods[best] || n == pods[best] && node < best {
			best = node
		}
	}
	return best
}
