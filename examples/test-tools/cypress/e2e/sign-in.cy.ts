// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

/// <reference types="cypress" />
import type {} from '../support/e2e.ts'

it('a user signs in', () => {
  cy.testUser().then((user) => {
    cy.visit('/')
    cy.get('#username').type(user.username)
    // Without parseSpecialCharSequences: false, cy.type would read { in a password as the name of a key.
    cy.get('#password').type(user.password, { log: false, parseSpecialCharSequences: false })
    cy.contains('button', 'Sign in').click()
    cy.get('[role=status]').should('have.text', `Signed in as ${user.username}`)
  })
})
