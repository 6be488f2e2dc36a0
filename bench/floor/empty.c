// SPDX-License-Identifier: Apache-2.0
// A process that does nothing. Its cost is subtracted from the floor.
int main(void) { return 0; }
