"""Generated code of the contract, protos/mailroom/v1/mailroom.proto: made by `make protos`, never edited."""
