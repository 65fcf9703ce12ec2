"""auth — who a caller is and what it may do: tokens, the token file, access rules."""
