"""A package as a user of Loom would write it: type checkers accept it in their strict modes."""
