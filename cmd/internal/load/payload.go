package load

import "math/rand/v2"

// payloads is how many different values a measurement sends, in turn. A
// compressor with a large window finds them again in large batches.
const payloads = 1024

// values makes the records' values: random letters and digits, six bits in each
// byte, and the same for the same seed.
func values(size int, seed uint64) [][]byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	random := rand.New(rand.NewPCG(seed, 0))
	all := make([][]byte, payloads)
	for i := range all {
		all[i] = make([]byte, size)
		for j := range all[i] {
			all[i][j] = alphabet[random.IntN(len(alphabet))]
		}
	}
	return all
}
