//! Enums whose list and texts are written where the variants are: none can be missing from them.

/// Defines an enum without fields, with the text that each variant has outside: a label's value, a word of JSON.
///
/// `ALL` holds every variant in its order, so the number of a variant is its index there.
///
/// ```
/// netmon::listed! {
///     #[derive(Clone, Copy, Debug, PartialEq, Eq)]
///     enum Colour { Red => "red", Green => "green" }
/// }
/// assert_eq!(Colour::ALL, [Colour::Red, Colour::Green]);
/// assert_eq!(Colour::Green.as_str(), "green");
/// assert_eq!(Colour::from_text("green"), Some(Colour::Green));
/// ```
///
/// A variant without its text does not compile:
///
/// ```compile_fail
/// netmon::listed! {
///     #[derive(Clone, Copy, Debug, PartialEq, Eq)]
///     enum Colour { Red => "red", Green => "green", Blue }
/// }
/// ```
#[macro_export]
macro_rules! listed {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis enum $name {
            $($(#[$doc])* $variant),+
        }

        impl $name {
            /// All of them, in the order of their numbers.
            #[cfg_attr(alone, allow(dead_code, reason = "not every list is walked"))]
            pub const ALL: [$name; [$($text),+].len()] = [$($name::$variant),+];

            /// Their texts, in the same order.
            #[allow(dead_code, reason = "not every list is shown")]
            pub const WORDS: &[&str] = &[$($text),+];

            /// The one that is called so outside.
            #[allow(dead_code, reason = "not every list is read")]
            pub fn from_text(text: &str) -> Option<$name> {
                $name::ALL.into_iter().find(|known| known.as_str() == text)
            }

            /// What it is called outside.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text),+
                }
            }
        }
    };
}
