// Package docs holds the pages of the documentation that the program prints.
package docs

import _ "embed"

// Licences are the licence of bnkit and the licences and notices of everything that is
// linked into it. .ci/licences writes them.
//
//go:embed licences.txt
var Licences string
