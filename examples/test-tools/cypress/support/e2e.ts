// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

/// <reference types="cypress" />
import type { TestUser } from '../../vault.ts'

declare global {
  namespace Cypress {
    interface Chainable {
      /** testUser yields the user of this run. */
      testUser(): Chainable<TestUser>
    }
  }
}

// Without log: false, the command log would show the password.
Cypress.Commands.add('testUser', () => cy.task<TestUser>('testUser', null, { log: false }))
