package arch

import "testing"

// TestWith checks unions of trainable sets.
func TestWith(t *testing.T) {
	for _, c := range []struct{ a, b, want TrainableSet }{
		{BN, BN, BN}, {Nothing, Output, Output}, {GammaOnly, BetaOnly, BN}, {GammaOnly, Nothing, GammaOnly}, {BN, Output, BNOutput},
		{BetaOnly, Output, BNOutput}, {BNShortcut, BetaOnly, BNShortcut}, {BNShortcut, Output, All}, {All, BN, All},
		{"random-2", "random-5", "random-5"}, {"random-2", GammaOnly, "bn+random-2"}, {"bn+random-3", "random-1", "bn+random-3"},
		{"random-2", BNShortcut, All}, {"random-2", Output, All},
	} {
		if got := c.a.With(c.b); got != c.want {
			t.Errorf("%s with %s is %s, want %s", c.a, c.b, got, c.want)
		}
		if got := c.b.With(c.a); got != c.want {
			t.Errorf("%s with %s is %s, want %s", c.b, c.a, got, c.want)
		}
	}
}
