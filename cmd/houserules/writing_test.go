package houserules

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryPackageAndExportedNameIsDocumented(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		seen[s.dir] = s.path
		if s.ast.Doc != nil {
			documented[s.dir] = true
		}
		for _, d := range s.ast.Decls {
			checkDecl(t, s, d)
		}
	}
	for dir, file := range seen {
		if !documented[dir] {
			t.Errorf("package %s has no comment (for example in %s)", dir, file)
		}
	}
}

func checkDecl(t *testing.T, s source, d ast.Decl) {
	t.Helper()
	at := func(n ast.Node) string {
		return s.path + ":" + s.fset.Position(n.Pos()).String()[strings.LastIndex(s.fset.Position(n.Pos()).String(), ".go:")+4:]
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
			t.Errorf("%s: func %s has no comment", at(d), d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if !spec.Name.IsExported() {
					continue
				}
				if d.Doc == nil && spec.Doc == nil {
					t.Errorf("%s: type %s has no comment", at(spec), spec.Name.Name)
				}
				checkFields(t, s, spec, at)
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					if n.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						t.Errorf("%s: %s has no comment", at(spec), n.Name)
					}
				}
			}
		}
	}
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// checkFields wants a comment for the fields of exported structs: each its own, or one for a run of fields on lines that follow
// each other.
func checkFields(t *testing.T, s source, spec *ast.TypeSpec, at func(ast.Node) string) {
	t.Helper()
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	lastCovered := -1
	for _, f := range st.Fields.List {
		line := s.fset.Position(f.Pos()).Line
		if f.Doc != nil || f.Comment != nil || line == lastCovered+1 {
			lastCovered = s.fset.Position(f.End()).Line
			continue
		}
		for _, n := range f.Names {
			if n.IsExported() {
				t.Errorf("%s: field %s.%s has no comment", at(f), spec.Name.Name, n.Name)
			}
		}
	}
}

func TestNoTestSleeps(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test || s.dir == "cmd/houserules" {
			continue
		}
		if strings.Contains(read(t, s.path), "time.Sleep(") {
			t.Errorf("%s sleeps: use virtual time or wait for the condition", s.path)
		}
	}
}

func TestNoFileOutgrowsItsReader(t *testing.T) {
	for _, s := range sources(t) {
		limit := 800
		if s.test {
			limit = 1500
		}
		if n := strings.Count(read(t, s.path), "\n"); n > limit {
			t.Errorf("%s has %d lines, more than %d: is it more than one room?", s.path, n, limit)
		}
	}
}

func TestNothingIsLeftUnfinished(t *testing.T) {
	words := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b|not (yet )?implemented|panic\("imple` + `ment`)
	for _, s := range sources(t) {
		if s.dir == "cmd/houserules" {
			continue
		}
		if m := words.FindString(read(t, s.path)); m != "" {
			t.Errorf("%s says %q", s.path, m)
		}
	}
}

func TestNoMachinePaths(t *testing.T) {
	bad := regexp.MustCompile(`(^|[^A-Za-z0-9_.])/(wo` + `rk|fa` + `rm)/`)
	files(t, func(rel string) {
		if strings.HasSuffix(rel, ".sum") || strings.Contains(rel, "/testdata/fuzz/") {
			return
		}
		if m := bad.FindString(read(t, rel)); m != "" {
			t.Errorf("%s names a path of one machine: %q", rel, m)
		}
	})
}

func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	files(t, func(rel string) {
		if !strings.HasSuffix(rel, ".md") {
			return
		}
		for _, m := range link.FindAllStringSubmatch(read(t, rel), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			target := path.Join(path.Dir(rel), m[1])
			if _, err := os.Stat(filepath.Join(root(t), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s, which does not exist", rel, m[1])
			}
		}
	})
}

func TestTheReadmeNamesOnlyMakeTargetsThatExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, m := range regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`).FindAllStringSubmatch(read(t, "README.md"), -1) {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
			t.Errorf("README.md names make %s, which the Makefile does not have", m[1])
		}
	}
}
