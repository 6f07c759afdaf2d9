"""Every public function, called with what nobody should pass."""
