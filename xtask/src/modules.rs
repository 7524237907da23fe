//! The modules of a crate, as their files declare them. What is compiled for tests only is left out.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, File, Item, ItemMod, UseTree, Visibility};

/// The path of a module from the root of its crate; the root's is empty.
pub(crate) type ModulePath = Vec<String>;

/// What a name stands for in a module.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    /// Something defined there.
    Item,
    /// A module below it.
    Module,
    /// Something from elsewhere, by the path that the `use` gives.
    Alias(Vec<String>),
}

/// A module: a file, or a part of one.
pub(crate) struct Module {
    /// The file, from the root of the crate.
    pub(crate) file: PathBuf,
    pub(crate) names: BTreeMap<String, Name>,
    /// What is imported from where as a whole.
    pub(crate) globs: Vec<Vec<String>>,
    pub(crate) items: Vec<Item>,
    /// How many lines its file has; 0 for a part of one.
    pub(crate) lines: usize,
}

/// The modules of a crate, by their paths.
pub(crate) type Modules = BTreeMap<ModulePath, Module>;

/// Reads the crate whose root is the file `root`.
pub(crate) fn read(root: &Path) -> Modules {
    let mut modules = Modules::new();
    let folder = root.parent().unwrap_or(Path::new("."));
    read_file(root, folder, folder, &[], &mut modules);
    modules
}

/// Reads `file`, whose modules' files are in `below`.
fn read_file(file: &Path, crate_folder: &Path, below: &Path, at: &[String], modules: &mut Modules) {
    let text = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("`{}` can't be read: {error}", file.display()));
    let parsed: File = syn::parse_file(&text)
        .unwrap_or_else(|error| panic!("`{}` can't be understood: {error}", file.display()));
    let name = file.strip_prefix(crate_folder).unwrap_or(file).to_owned();
    let lines = text.lines().count();
    let context = Context { name, crate_folder, below };
    read_items(parsed.items, &context, lines, at, modules);
}

/// Where a module's items are.
struct Context<'a> {
    name: PathBuf,
    crate_folder: &'a Path,
    below: &'a Path,
}

fn read_items(
    items: Vec<Item>,
    context: &Context<'_>,
    lines: usize,
    at: &[String],
    modules: &mut Modules,
) {
    let Context { name, crate_folder, below } = context;
    let file = name.clone();
    let mut module =
        Module { file, names: BTreeMap::new(), globs: Vec::new(), items: Vec::new(), lines };
    let mut children = Vec::new();
    for item in items {
        if is_for_tests(attributes(&item)) {
            continue;
        }
        match item {
            Item::Mod(child) => {
                module.names.insert(child.ident.to_string(), Name::Module);
                children.push(child);
            }
            Item::Use(item) => {
                let mut leaves = Vec::new();
                leaves_of(&item.tree, &mut Vec::new(), &mut leaves);
                for (name, path) in leaves {
                    match name {
                        Some(name) => _ = module.names.insert(name, Name::Alias(path)),
                        None => module.globs.push(path),
                    }
                }
                // What is handed on is no use of it.
                if matches!(item.vis, Visibility::Inherited) {
                    module.items.push(Item::Use(item));
                }
            }
            item => {
                if let Some(name) = name_of(&item) {
                    module.names.insert(name, Name::Item);
                }
                module.items.push(item);
            }
        }
    }
    modules.insert(at.to_owned(), module);
    for ItemMod { ident, attrs, content, .. } in children {
        let (ident, mut path) = (ident.to_string(), at.to_owned());
        path.push(ident.clone());
        if let Some((_, items)) = content {
            let context = Context { name: name.clone(), crate_folder, below: &below.join(&ident) };
            read_items(items, &context, 0, &path, modules);
            continue;
        }
        let given = attrs.iter().find_map(given_path);
        let flat = below.join(given.unwrap_or_else(|| format!("{ident}.rs")));
        let (file, deeper) = if flat.is_file() {
            let deeper = if flat.file_name().is_some_and(|name| name == "mod.rs") {
                flat.parent().unwrap_or(below).to_owned()
            } else {
                below.join(&ident)
            };
            (flat, deeper)
        } else {
            (below.join(&ident).join("mod.rs"), below.join(&ident))
        };
        read_file(&file, crate_folder, &deeper, &path, modules);
    }
}

/// What `#[path = "…"]` says.
fn given_path(attribute: &Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. })
            if pair.path.is_ident("path") =>
        {
            Some(text.value())
        }
        _ => None,
    }
}

/// Whether something is compiled for tests, or for fuzzing, only.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| {
                    let said = list.tokens.to_string();
                    said == "test" || said == "fuzzing" || said.starts_with("all (test")
                })
    })
}

/// The names that a `use` brings, each with its path; a glob has no name.
pub(crate) fn leaves_of(
    tree: &UseTree,
    before: &mut Vec<String>,
    leaves: &mut Vec<(Option<String>, Vec<String>)>,
) {
    let with = |last: Option<&syn::Ident>| {
        let mut path = before.clone();
        match last {
            Some(last) if last == "self" => {}
            Some(last) => path.push(last.to_string()),
            None => {}
        }
        path
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves_of(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) => {
            let path = with(Some(&name.ident));
            leaves.push((path.last().cloned(), path));
        }
        UseTree::Rename(rename) => {
            leaves.push((Some(rename.rename.to_string()), with(Some(&rename.ident))));
        }
        UseTree::Glob(_) => leaves.push((None, with(None))),
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves_of(tree, before, leaves);
            }
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
