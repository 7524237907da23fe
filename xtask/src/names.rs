//! What the paths in a module lead to, by way of what other modules hand on.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ItemUse, Macro, Path,
    visit::{self, Visit},
};

use crate::modules::{ModulePath, Modules, Name, is_for_tests, leaves_of};

/// Where something is defined, and what it is called there.
pub(crate) type Definition = (ModulePath, String);

/// What the module at `path` uses of others.
pub(crate) fn uses(modules: &Modules, path: &ModulePath) -> BTreeSet<Definition> {
    let mut seen = Seen { modules, path, found: BTreeSet::new() };
    for item in &modules[path].items {
        seen.visit_item(item);
    }
    seen.found
}

struct Seen<'m> {
    modules: &'m Modules,
    path: &'m ModulePath,
    found: BTreeSet<Definition>,
}

impl Seen<'_> {
    fn add(&mut self, words: &[String]) {
        self.found.extend(lead(self.modules, self.path, words, 0));
    }

    /// The paths in what a macro is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut words: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add(&words);
                        words.clear();
                    }
                    words.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {}
            }
            self.add(&words);
            words.clear();
            colons = 0;
        }
        self.add(&words);
    }
}

impl<'ast> Visit<'ast> for Seen<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        let words: Vec<String> = path.segments.iter().map(|one| one.ident.to_string()).collect();
        self.add(&words);
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut leaves = Vec::new();
        leaves_of(&item.tree, &mut Vec::new(), &mut leaves);
        for (_, path) in leaves {
            self.add(&path);
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}
}

/// What `words` lead to from the module at `from`; nothing if that is outside the crate, or a module.
fn lead(
    modules: &Modules,
    from: &ModulePath,
    words: &[String],
    depth: usize,
) -> Option<Definition> {
    const DEEPEST: usize = 16;
    let (first, rest) = words.split_first()?;
    if depth > DEEPEST {
        return None;
    }
    let mut at = from.clone();
    let rest = match first.as_str() {
        "crate" => {
            at.clear();
            rest
        }
        "self" => rest,
        "super" => {
            at.pop();
            let mut rest = rest;
            while let Some(("super", more)) =
                rest.split_first().map(|(word, more)| (word.as_str(), more))
            {
                at.pop();
                rest = more;
            }
            rest
        }
        _ => words,
    };
    step(modules, at, rest, depth)
}

fn step(
    modules: &Modules,
    mut at: ModulePath,
    words: &[String],
    depth: usize,
) -> Option<Definition> {
    let (first, rest) = words.split_first()?;
    let module = modules.get(&at)?;
    match module.names.get(first) {
        Some(Name::Item) => Some((at, first.clone())),
        Some(Name::Module) => {
            at.push(first.clone());
            step(modules, at, rest, depth)
        }
        Some(Name::Alias(path)) => {
            let whole: Vec<String> = path.iter().chain(rest).cloned().collect();
            // A name of a crate that is imported under its own name leads out.
            if path.first() == Some(first) && path.len() == 1 {
                return None;
            }
            lead(modules, &at, &whole, depth + 1)
        }
        None => module.globs.iter().find_map(|glob| {
            let whole: Vec<String> = glob.iter().chain(words).cloned().collect();
            lead(modules, &at, &whole, depth + 1)
        }),
    }
}
