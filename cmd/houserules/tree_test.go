package houserules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/ottla/ottla"

// source is a Go file of the module.
type source struct {
	path string // relative to the root, with slashes
	dir  string
	test bool
	ast  *ast.File
	fset *token.FileSet
}

func root(t *testing.T) string {
	t.Helper()
	r, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files calls f with every file of the tree that is not hidden, built or data.
func files(t *testing.T, f func(rel string)) {
	t.Helper()
	base := root(t)
	err := filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(base, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && strings.HasPrefix(d.Name(), ".") && rel != ".ci" || rel == "bin" || rel == "data" || rel == "logs" {
				return filepath.SkipDir
			}
			return nil
		}
		if rel == ".git" { // in a linked working tree it is a file
			return nil
		}
		f(rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses every hand-written Go file.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	files(t, func(rel string) {
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, ".pb.go") {
			return
		}
		file, err := parser.ParseFile(fset, filepath.Join(root(t), filepath.FromSlash(rel)), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, source{path: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), ast: file, fset: fset})
	})
	if len(out) < 20 {
		t.Fatalf("found only %d Go files below %s", len(out), root(t))
	}
	return out
}

func read(t *testing.T, rel string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(rel)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// imports returns the import paths of a file.
func (s source) imports() []string {
	var out []string
	for _, i := range s.ast.Imports {
		out = append(out, strings.Trim(i.Path.Value, `"`))
	}
	return out
}
